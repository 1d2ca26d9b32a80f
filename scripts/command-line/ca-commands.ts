import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Command } from 'commander';
import { DATA_FOLDER } from '#gateway/contract/data-folder.ts';
import type { CaCertificateDetail, CaDescription } from '#gateway/contract/operator-api.ts';
import { addCaCrlCommand } from './ca-crl-command.ts';
import { caRolloverCommands } from './ca-rollover-commands.ts';
import { CommandError } from './command-error.ts';
import { commandGroup, type GlobalOptions, oneOf, withExamples } from './command-options.ts';
import { dataFolder } from './data-folder.ts';
import { formatTime } from './format-time.ts';
import { connectOperator } from './operator-client.ts';
import { print, printFields, printJson, say } from './output.ts';
import { PROJECT_ROOT } from './project-root.ts';
import { runProgram } from './run-program.ts';

const EXPORTS = ['root', 'intermediate', 'chain'] as const;
type ExportOptions = GlobalOptions & { what: (typeof EXPORTS)[number]; out?: string };
type InitOptions = GlobalOptions & {
  trustDomain?: string;
  organization?: string;
  algorithm?: string;
  passphraseFile?: string;
  rootPassphraseFile?: string;
};

const CA_MAIN = join(PROJECT_ROOT, 'ca', 'main.ts');

/** `gatehouse ca ...` */
export function caCommands(): Command {
  const ca = commandGroup('ca', 'the certificate authority: make it, look at it, export its certificates');

  withExamples(
    ca
      .command('init')
      .description('make root and intermediate now, before the first start')
      .option('--trust-domain <domain>', 'SPIFFE trust domain (default: gatehouse.internal)')
      .option('--organization <name>', 'stands in the names of root and intermediate (default: Gatehouse)')
      .option('--algorithm <kind>', 'key of the intermediate: ec-p256 (default), ec-p384, ed25519 or rsa-3072')
      .option('--passphrase-file <file>', 'passphrase for the intermediate key; left out: one is made')
      .option('--root-passphrase-file <file>', 'passphrase for the root key; left out: one is made'),
    'gatehouse ca init --data /var/lib/gatehouse --trust-domain plant.example',
  ).action(async (_: unknown, command: Command) => {
    const options = command.optsWithGlobals<InitOptions>();
    const { json } = options;
    const dataDir = dataFolder(options.data);
    const args = [CA_MAIN, 'init', '--dir', join(dataDir, DATA_FOLDER.ca), ...initArguments(options)];
    const { stdout, exitCode } = await runProgram(args);
    if (exitCode !== 0) {
      throw new CommandError('FAILED', 'no authority was made; the reason stands above', {
        advice: `to look at one that exists: gatehouse ca show --data ${dataDir}`,
      });
    }
    if (json) print(stdout.trimEnd());
    else {
      await showCa(dataDir, false);
      say(`The root key is needed again only for a new intermediate: move it offline (see ca/README.md).`);
      say(`Start the gateway: gatehouse serve --data ${dataDir}`);
    }
  });

  withExamples(
    ca.command('show').description('root, intermediate and CRL; works without a running gateway, too'),
    'gatehouse ca show',
  ).action(async (_: unknown, command: Command) => {
    const { data, json } = command.optsWithGlobals<GlobalOptions>();
    await showCa(dataFolder(data), json ?? false);
  });

  withExamples(
    ca
      .command('export')
      .description('print the certificates as PEM, for trust stores and web servers')
      .option('--what <which>', `one of ${EXPORTS.join(', ')} (intermediate, then root)`, oneOf(EXPORTS, 'it'), 'root')
      .option('--out <file>', 'write to a file instead of stdout'),
    'gatehouse ca export > root.pem',
    'gatehouse ca export --what chain --out chain.pem',
  ).action(async (_: unknown, command: Command) => {
    const { data, json, what, out } = command.optsWithGlobals<ExportOptions>();
    const { readAuthorityPem } = await authorityFolder();
    const pem = await readAuthorityPem(dataFolder(data), what);
    if (out !== undefined) {
      await writeFile(out, pem);
      say(`wrote ${out}`);
    } else if (json) printJson({ what, pem });
    else print(pem.trimEnd());
  });

  addCaCrlCommand(ca);

  ca.addCommand(caRolloverCommands());
  return ca;
}

/** Loaded when it is needed: it brings the whole certificate parser, which other commands do without. */
function authorityFolder() {
  return import('./authority-folder.ts');
}

function initArguments(options: InitOptions): string[] {
  const { trustDomain, organization, algorithm, passphraseFile, rootPassphraseFile } = options;
  const given = {
    '--trust-domain': trustDomain,
    '--organization': organization,
    '--algorithm': algorithm,
    '--passphrase-file': passphraseFile,
    '--root-passphrase-file': rootPassphraseFile,
  };
  return Object.entries(given).flatMap(([option, value]) => (value === undefined ? [] : [option, value]));
}

/** From the running gateway when there is one, since only it knows the CRL; else from the folder. */
async function describe(dataDir: string): Promise<CaDescription> {
  try {
    return await (await connectOperator(dataDir)).call<CaDescription>('describeCa');
  } catch (error) {
    if (!(error instanceof CommandError) || error.code !== 'NOT_RUNNING') throw error;
    const { readAuthority } = await authorityFolder();
    return readAuthority(dataDir);
  }
}

async function showCa(dataDir: string, json: boolean): Promise<void> {
  const description = await describe(dataDir);
  if (json) {
    printJson(description);
    return;
  }
  const now = Date.now();
  const { trustDomain, root, intermediate, crl } = description;
  printFields({ 'trust domain': trustDomain });
  for (const [name, certificate] of Object.entries({ root, intermediate })) {
    print('');
    printFields(certificateFields(name, certificate, now));
  }
  print('');
  printFields({
    CRL: crl
      ? `number ${crl.number}, ${crl.entries} entries, next update ${formatTime(crl.nextUpdate, now)}`
      : 'known only while the gateway runs',
  });
}

function certificateFields(name: string, certificate: CaCertificateDetail, now: number): Record<string, string> {
  return {
    [name]: certificate.subject,
    serial: certificate.serial,
    algorithm: certificate.algorithm,
    until: formatTime(certificate.notAfter, now),
    'SHA-256': certificate.sha256,
    'key id': certificate.keyId,
  };
}
