import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { listLibraryPaths } from './library-folders.ts';
import { TpmError } from './tpm-error.ts';

/** The OpenSSL provider `tpm2` (tpm2-openssl), by which TLS uses a key in the TPM. */
export type OpensslProvider = {
  /** Absolute path of the shared object. */
  module: string;
  /** As it names itself; undefined when it does not. */
  version: string | undefined;
  /** Versions before 1.2 load a key and then cannot sign with it in a process that has other keys too. */
  isUsable: boolean;
};

const INSTALL_ADVICE =
  'install tpm2-openssl 1.2 or later (Debian 13, Ubuntu 24.04: apt-get install tpm2-openssl); on Debian 12 the tpm2.so of the package of Debian 13 does: name its path in GATEHOUSE_TPM2_PROVIDER';

const CONFIG_FILE = 'openssl-tpm.cnf';

/** @param named path of the module, tried instead of the usual places. @returns undefined when there is none. */
export async function findOpensslProvider(named: string | undefined): Promise<OpensslProvider | undefined> {
  const found: OpensslProvider[] = [];
  for (const module of named ? [named] : await listLibraryPaths('ossl-modules/tpm2.so')) {
    const content = await readFile(module, 'latin1').catch(() => undefined);
    if (content === undefined) continue;
    // biome-ignore lint/suspicious/noControlCharactersInRegex: strings in a shared object end with a zero octet.
    const version = /\0(\d+\.\d+\.\d+)[-\w.]*\0/.exec(content)?.[1];
    found.push({ module, version, isUsable: version === undefined || isAtLeast(version, [1, 2]) });
  }
  return found.find(({ isUsable }) => isUsable) ?? found[0];
}

/** @throws TpmError PROVIDER_UNFIT, with what to install */
export function requireUsable(provider: OpensslProvider | undefined): OpensslProvider {
  if (!provider) {
    throw new TpmError('PROVIDER_UNFIT', 'the OpenSSL provider for TPM keys (tpm2-openssl) is not installed', {
      advice: INSTALL_ADVICE,
    });
  }
  if (!provider.isUsable) {
    throw new TpmError(
      'PROVIDER_UNFIT',
      `the OpenSSL provider for TPM keys is too old: ${provider.version} at ${provider.module}`,
      { advice: INSTALL_ADVICE },
    );
  }
  return provider;
}

/** @returns path of an OpenSSL configuration that loads the provider beside OpenSSL's own. */
export async function writeProviderConfig(folder: string, module: string): Promise<string> {
  const path = join(folder, CONFIG_FILE);
  const content = formatConfig(module);
  if ((await readFile(path, 'utf8').catch(() => undefined)) === content) return path;
  await writeFile(`${path}.new`, content, { mode: 0o600 });
  await rename(`${path}.new`, path);
  return path;
}

/** The default provider comes first: random numbers, hashes and everybody else's keys are its work. */
function formatConfig(module: string): string {
  return `nodejs_conf = openssl_init
openssl_conf = openssl_init
[openssl_init]
providers = provider_sect
[provider_sect]
default = default_sect
tpm2 = tpm2_sect
[default_sect]
activate = 1
[tpm2_sect]
module = ${module}
activate = 1
`;
}

function isAtLeast(version: string, [major, minor]: [number, number]): boolean {
  const [ownMajor = 0, ownMinor = 0] = version.split('.').map(Number);
  return ownMajor > major || (ownMajor === major && ownMinor >= minor);
}
