import { PROJECT_ROOT } from '#scripts/command-line/project-root.ts';
import { DEBIAN_PACKAGES, missingPackages } from '#scripts/set-up/debian-packages.mjs';
import { tpmProviderPath } from '#scripts/set-up/tpm-provider.mjs';

/** A software TPM with a maker behind it, and what the agent needs to use a TPM. */
const COMMANDS = ['swtpm', 'swtpm_setup', 'tpm2_send'];
const PROVIDER_PACKAGE = 'tpm2-openssl';

/** `name`: as a person looks for it. `package`: the Debian package that brings it. */
export type MissingPart = { name: string; package: string };

/** What a device with a TPM on this machine lacks; empty when it can be shown. */
export function missingTpmParts(): MissingPart[] {
  const wanted = DEBIAN_PACKAGES.filter(({ command }) => COMMANDS.includes(command));
  const parts = missingPackages(wanted).map(({ command, ...entry }) => ({ name: command, package: entry.package }));
  if (tpmProvider() !== undefined) return parts;
  return [...parts, { name: 'OpenSSL provider for TPM keys, 1.2 or later', package: PROVIDER_PACKAGE }];
}

/** Path of the OpenSSL provider: the one that is named, the system's when it is new enough, else the one of the set-up. */
function tpmProvider(): string | undefined {
  return process.env['GATEHOUSE_TPM2_PROVIDER'] ?? tpmProviderPath(PROJECT_ROOT);
}

/** Of a process that runs an agent with a TPM: the same, where the agent looks for it. */
export function tpmEnvironment(): NodeJS.ProcessEnv {
  const provider = tpmProvider();
  return { ...process.env, ...(provider === undefined ? {} : { GATEHOUSE_TPM2_PROVIDER: provider }) };
}

/** One line for people. @param what is left out for the lack of these parts */
export function describeMissing(what: string, parts: readonly MissingPart[]): string {
  const names = parts.map(({ name }) => name).join(', ');
  const packages = [...new Set(parts.map((part) => part.package))].join(' ');
  return `${what} is left out: missing ${names}; \`npm test\` installs what it may, or by hand: apt-get install ${packages}`;
}
