import { rename, writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { type RunningGateway, startGateway } from './compose.ts';
import { ConfigError, parseConfig } from './config.ts';
import { formatStartBlock } from './start-block.ts';

const USAGE = `Usage: gatehouse serve [options]

  --data DIR           folder of everything the gateway keeps   (./data, or GATEHOUSE_DATA)
  --host ADDRESS       address the doors listen on              (0.0.0.0)
  --public-host NAME   how devices reach this machine           (its first outside address)
  --name NAME          another name for the server certificate, may be repeated
  --est-port N         EST over HTTPS                           (8443; 0 picks a free port)
  --mqtt-port N        MQTT over mutual TLS                     (8883)
  --status-port N      CRL, CA certificates, metrics, health    (8080)
  --operator-port N    operator door                            (9443)
  --ready-file FILE    JSON with ports, URLs and root SHA-256, written when the gateway can serve
  --trust-domain NAME  SPIFFE trust domain, used when the CA is made (gatehouse.internal)
  --ca-socket PATH     use an authority that runs on its own
  --crl-hours N        how long a CRL is good for               (24)
  --crl-shards N       lists that revocations are spread over   (1: the whole list)
  --log-level LEVEL    debug, info, warn or error               (info)

Example: gatehouse serve --data /var/lib/gatehouse --public-host gateway.plant.example`;

async function main(): Promise<void> {
  const config = readConfig();
  const gateway = await startGateway(config);
  stopOnSignals(gateway);
  process.stdout.write(`${formatStartBlock(gateway.ready, config)}\n`);
  if (config.readyFile !== undefined) await writeWhole(config.readyFile, JSON.stringify(gateway.ready, null, 2));
}

function readConfig() {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    options: {
      data: text,
      host: text,
      'public-host': text,
      name: { type: 'string', multiple: true },
      'est-port': text,
      'mqtt-port': text,
      'status-port': text,
      'operator-port': text,
      'ready-file': text,
      'trust-domain': text,
      'ca-socket': text,
      'crl-hours': text,
      'crl-shards': text,
      'log-level': text,
      help: { type: 'boolean', short: 'h' },
    },
  });
  const { help, ...options } = values;
  if (help === true) {
    process.stdout.write(`${USAGE}\n`);
    process.exit(0);
  }
  return parseConfig(
    Object.fromEntries(
      Object.entries(options).map(([name, value]) => [
        name.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase()),
        value,
      ]),
    ),
  );
}

/** The same signal often comes twice: to the whole process group, and passed on by the command line that started us. */
const SAME_WISH_MS = 2_000;

/** One signal asks politely, a later one insists. The command line's channel closing means its user is gone. */
function stopOnSignals(gateway: RunningGateway): void {
  let askedAt: number | undefined;
  const stop = () => {
    if (askedAt !== undefined) {
      if (performance.now() - askedAt > SAME_WISH_MS) process.exit(1);
      return;
    }
    askedAt = performance.now();
    gateway.stop().then(
      () => process.exit(0),
      (error: unknown) => {
        process.stderr.write(`gatehouse did not stop cleanly: ${String(error)}\n`);
        process.exit(1);
      },
    );
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  process.on('disconnect', stop);
}

/** Readers wait for the file to appear: it must never be seen half written. */
async function writeWhole(path: string, content: string): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`;
  await writeFile(temporary, `${content}\n`);
  await rename(temporary, path);
}

try {
  await main();
} catch (error) {
  const usage =
    error instanceof ConfigError || (error as { code?: string }).code?.startsWith('ERR_PARSE_ARGS') === true;
  const message = error instanceof Error ? error.message : String(error);
  process.stderr.write(`gatehouse cannot start: ${message}\n${usage ? 'See: gatehouse serve --help\n' : ''}`);
  process.exit(usage ? 2 : 1);
}
