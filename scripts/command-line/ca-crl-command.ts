import { join } from 'node:path';
import type { Command } from 'commander';
import { DATA_FOLDER } from '#gateway/contract/data-folder.ts';
import { CommandError } from './command-error.ts';
import { countOption, type GlobalOptions, withExamples } from './command-options.ts';
import { dataFolder } from './data-folder.ts';
import { formatTime } from './format-time.ts';
import { print, printFields } from './output.ts';
import { PROJECT_ROOT } from './project-root.ts';
import { ISSUER_REVOCATION_REASONS, reasonOption } from './revocation-reason.ts';
import { runProgram } from './run-program.ts';

type CrlOptions = GlobalOptions & {
  rootKeyFile?: string;
  rootPassphraseFile?: string;
  rootKeyId?: string;
  revoke?: string;
  reason?: string;
  days?: number;
};

const CA_MAIN = join(PROJECT_ROOT, 'ca', 'main.ts');

/** `gatehouse ca crl`: the root's list of revoked intermediates, with the root key brought back for it. */
export function addCaCrlCommand(ca: Command): void {
  withExamples(
    ca
      .command('crl')
      .description("renew the root's CRL, or revoke an intermediate on it; needs the root key")
      .option('--root-key-file <file>', 'key of the root (default: where the ceremony left it)')
      .option('--root-passphrase-file <file>', 'its passphrase (default: where the ceremony left it)')
      .option('--root-key-id <id>', 'of a root that was replaced, or the beginning of it (default: the one in use)')
      .option('--revoke <serial>', 'serial of an intermediate to be revoked (see gatehouse ca show)')
      .option(
        '--reason <reason>',
        `why: ${ISSUER_REVOCATION_REASONS.join(', ')}`,
        reasonOption(ISSUER_REVOCATION_REASONS),
      )
      .option('--days <n>', 'how long it is good for (default: 400)', countOption),
    'gatehouse ca crl --root-key-file /media/safe/root.key.pem --root-passphrase-file /media/safe/root-passphrase',
    'gatehouse ca crl --revoke 4f2a... --reason cACompromise',
  ).action(async (_: unknown, command: Command) => {
    const options = command.optsWithGlobals<CrlOptions>();
    const dir = join(dataFolder(options.data), DATA_FOLDER.ca);
    const { stdout, exitCode } = await runProgram([CA_MAIN, 'crl', '--dir', dir, ...argumentsOf(options)]);
    if (exitCode !== 0)
      throw new CommandError('FAILED', 'no CRL was signed; the reason stands above', {
        advice: 'the one of before stays in force',
      });
    if (options.json) {
      print(stdout.trimEnd());
      return;
    }
    const { path, number, nextUpdate, revoked } = JSON.parse(stdout) as {
      path: string;
      number: number;
      nextUpdate: number;
      revoked: string[];
    };
    printFields({
      'CRL of the root': path,
      number: String(number),
      revoked: revoked.join(', ') || 'nothing',
      'next update': formatTime(nextUpdate, Date.now()),
      served: 'by a gateway on this folder, from now on: that of the root in use at /crl/root.crl',
    });
  });
}

function argumentsOf(options: CrlOptions): string[] {
  const given = {
    '--root-key-file': options.rootKeyFile,
    '--root-passphrase-file': options.rootPassphraseFile,
    '--root-key-id': options.rootKeyId,
    '--revoke': options.revoke,
    '--reason': options.reason,
    '--days': options.days,
  };
  return Object.entries(given).flatMap(([option, value]) => (value === undefined ? [] : [option, String(value)]));
}
