import { Command, Option } from 'commander';
import { destination, type Logger, pino, stdTimeFunctions } from 'pino';
import { type CeremonyOptions, initialiseAuthority } from '#ca/ceremony/initialise-authority.ts';
import { INTERMEDIATE_ALGORITHMS } from '#ca/ceremony/make-ca.ts';
import { prepareSuccessor, type SuccessorOptions } from '#ca/ceremony/prepare-successor.ts';
import { type RootCrlOptions, signRootCrl } from '#ca/ceremony/sign-root-crl.ts';
import { AuthorityError } from '#ca/ports/certificate-authority.ts';
import { type RunningAuthority, serveAuthority } from './serve-authority.ts';

/** The certificate authority's process: JSON logs on stderr, one line of JSON on stdout. */

type ServeFlags = {
  dir: string;
  socket: string;
  statusUrl?: string;
  crlShards?: string;
  passphraseFile?: string;
  withParent?: boolean;
};
type CrlFlags = { dir: string; days?: string } & Omit<RootCrlOptions, 'days'>;
type InitFlags = { dir: string } & CeremonyOptions;
type PrepareFlags = { dir: string; rootYears?: string; intermediateYears?: string } & Omit<
  SuccessorOptions,
  'rootYears' | 'intermediateYears'
>;

const log: Logger = pino(
  {
    base: { pid: process.pid, name: 'gatehouse-ca' },
    level: process.env['GATEHOUSE_LOG_LEVEL'] ?? 'info',
    // As the gateway's log, whose stderr this one shares.
    timestamp: stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
  },
  destination({ dest: 2, sync: true }),
);

const program = new Command('gatehouse-ca').description('Certificate authority of a Gatehouse.');

program
  .command('serve')
  .description('hold the intermediate key and answer on a unix socket')
  .requiredOption('--dir <folder>', "the authority's folder, made by init")
  .requiredOption('--socket <path>', 'unix socket to listen on (made with mode 0600)')
  .option('--status-url <url>', 'http address of the status server, written into certificates')
  .option('--crl-shards <n>', 'lists that revocations are spread over, 1 to 256 (default: 1, the whole list)')
  .option('--passphrase-file <file>', 'passphrase of the intermediate key (mode 0600)')
  .option('--with-parent', 'end when standard input closes')
  .action(serve);

program
  .command('init')
  .description('make root and intermediate, once')
  .requiredOption('--dir <folder>', 'where; must not exist, or be empty')
  .option(
    '--trust-domain <name>',
    'stands in every device certificate, cannot be changed (default: gatehouse.internal)',
  )
  .option('--organization <name>', 'stands in the names of root and intermediate (default: Gatehouse)')
  .addOption(new Option('--algorithm <kind>', 'key of the intermediate').choices(INTERMEDIATE_ALGORITHMS))
  .option('--passphrase-file <file>', 'passphrase for the intermediate key; left out: one is made')
  .option('--root-passphrase-file <file>', 'passphrase for the root key; left out: one is made')
  .action(async ({ dir, ...options }: InitFlags) => {
    console.log(JSON.stringify(await initialiseAuthority(dir, options)));
  });

program
  .command('prepare')
  .description('make the next intermediate, or the next root and an intermediate below it; nothing uses them yet')
  .requiredOption('--dir <folder>', "the authority's folder; it may run")
  .option('--root', 'a new root, too, with the certificates that link it to the one in use')
  .addOption(new Option('--algorithm <kind>', 'key of the intermediate').choices(INTERMEDIATE_ALGORITHMS))
  .option('--root-key-file <file>', 'key of the root in use (default: where the ceremony left it)')
  .option('--root-passphrase-file <file>', 'its passphrase (default: where the ceremony left it)')
  .option('--passphrase-file <file>', 'passphrase for the new intermediate key; left out: one is made')
  .option('--new-root-passphrase-file <file>', 'passphrase for a new root key; left out: one is made')
  .option('--root-years <n>', 'life of a new root (default: 20)')
  .option('--intermediate-years <n>', 'life of the intermediate (default: 10)')
  .action(async ({ dir, rootYears, intermediateYears, ...options }: PrepareFlags) => {
    const years = {
      ...(rootYears !== undefined && { rootYears: Number(rootYears) }),
      ...(intermediateYears !== undefined && { intermediateYears: Number(intermediateYears) }),
    };
    console.log(JSON.stringify(await prepareSuccessor(dir, { ...options, ...years })));
  });

program
  .command('crl')
  .description("renew a root's list of revoked intermediates, with the root key at hand")
  .requiredOption('--dir <folder>', "the authority's folder; it may run")
  .option('--root-key-file <file>', 'key of that root (default: where the ceremony left it)')
  .option('--root-passphrase-file <file>', 'its passphrase (default: where the ceremony left it)')
  .option('--root-key-id <id>', 'which root, by its key id or the beginning of it (default: the one in use)')
  .option('--revoke <serial>', 'serial of an intermediate to be revoked')
  .option('--reason <reason>', 'of RFC 5280 5.3.1 (default: unspecified)')
  .option('--days <n>', 'how long it is good for (default: 400)')
  .action(async ({ dir, days, ...options }: CrlFlags) => {
    const result = await signRootCrl(dir, { ...options, ...(days !== undefined && { days: Number(days) }) });
    console.log(JSON.stringify(result));
  });

/** Longer than an authority whose gateway is gone takes to end. */
const PREDECESSOR_MS = 15_000;

async function serve(flags: ServeFlags): Promise<void> {
  const { withParent, crlShards, ...options } = flags;
  const onBroken = (error: AuthorityError) => {
    log.fatal({ err: error }, 'journal broken, ending so that the next start sees what reached the disk');
    // Later: the ones who wait are answered first.
    setTimeout(() => process.exit(1), 100);
  };
  const running = await serveAuthority({
    ...options,
    ...(crlShards !== undefined && { crlShards: Number(crlShards) }),
    ...(withParent === true && { patienceMs: PREDECESSOR_MS }),
    log,
    onBroken,
  });
  const { trustDomain, socket } = running;
  stopWhenAsked(running, withParent === true);
  log.info({ socket, trustDomain }, 'authority listens');
  console.log(JSON.stringify({ ready: true, pid: process.pid, socket, trustDomain }));
}

function stopWhenAsked(running: RunningAuthority, withParent: boolean): void {
  let stopping = false;
  const stop = (reason: string) => {
    if (stopping) return;
    stopping = true;
    log.info({ reason }, 'authority stops');
    // A peer that does not take its answer must not hold us.
    setTimeout(() => process.exit(0), 5000).unref();
    running.close().then(
      () => process.exit(0),
      (error: unknown) => {
        log.error({ err: error }, 'authority did not stop cleanly');
        process.exit(1);
      },
    );
  };
  process.once('SIGTERM', () => stop('SIGTERM'));
  process.once('SIGINT', () => stop('SIGINT'));
  if (!withParent) return;
  process.stdin.once('end', () => stop('parent gone'));
  process.stdin.once('error', () => stop('parent gone'));
  process.stdin.resume();
}

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof AuthorityError) console.error(`gatehouse-ca: ${error.message}`);
  else log.fatal({ err: error }, 'authority failed');
  process.exitCode = 1;
}
