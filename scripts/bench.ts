import { execFile } from 'node:child_process';
import { availableParallelism, cpus, loadavg } from 'node:os';
import { parseArgs, promisify } from 'node:util';
import type { Measurement } from './bench/bench-settings.ts';
import { BenchStage } from './bench/bench-stage.ts';
import { formatRounds, formatSections, type Section } from './bench/figure.ts';
import { measureConnects } from './bench/measure-connects.ts';
import { measureEnrollment } from './bench/measure-enrollment.ts';
import { measureEst } from './bench/measure-est.ts';
import { measureMemory } from './bench/measure-memory.ts';
import { measureRevocation } from './bench/measure-revocation.ts';
import { measureStatus } from './bench/measure-status.ts';
import { measureTpm } from './bench/measure-tpm.ts';
import { findMosquitto } from './bench/mosquitto.ts';

/** In this order: the sessions that are revoked are gone. */
const MEASUREMENTS = {
  est: measureEst,
  enrollment: measureEnrollment,
  connects: measureConnects,
  memory: measureMemory,
  tpm: measureTpm,
  status: measureStatus,
  revocation: measureRevocation,
} as const satisfies Record<string, Measurement>;
type MeasurementName = keyof typeof MEASUREMENTS;

const NAMES = Object.keys(MEASUREMENTS) as MeasurementName[];
const TIME_LIMIT_MS = 420_000;

const USAGE = `Usage: npm run bench -- [options]

Real processes in a temporary folder, load from a process of its own over 127.0.0.1; about four minutes.

  --only NAME   ${NAMES.join(', ')}; may be repeated   (all)
  --rounds N    rounds of what is compared; figures are their medians   (3)
  --quick       a quarter of everything: shows that it works, not how fast it is
  --json        figures with all rounds as JSON on stdout
  --profile DIR a CPU profile of the gateway, for the developer tools of a browser; it slows everything
  --help        this text

Absolute figures move with the machine and the hour; the ratios in one run hold to about a tenth.`;

function readOptions() {
  try {
    const flag = { type: 'boolean' } as const;
    const { values } = parseArgs({
      options: {
        only: { type: 'string', multiple: true },
        rounds: { type: 'string', default: '3' },
        quick: flag,
        json: flag,
        profile: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
      },
    });
    const only = values.only ?? NAMES;
    const unknown = only.find((name) => !Object.hasOwn(MEASUREMENTS, name));
    if (unknown !== undefined) throw new Error(`--only is one of ${NAMES.join(', ')}, not "${unknown}"`);
    const rounds = /^\d{1,2}$/.test(values.rounds) ? Number(values.rounds) : 0;
    if (rounds < 1) throw new Error('--rounds is a whole number from 1 to 99');
    return { ...values, rounds, names: NAMES.filter((name) => only.includes(name)) };
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n${USAGE}\n`);
    process.exit(2);
  }
}

const options = readOptions();
if (options.help) {
  process.stdout.write(`${USAGE}\n`);
  process.exit(0);
}

const ending = new AbortController();
for (const event of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.on(event, () => ending.abort(new Error('ended by a signal')));
const limit = TIME_LIMIT_MS + 30_000 * Math.max(0, options.rounds - 3);
setTimeout(() => ending.abort(new Error(`not done after ${limit / 1000} s`)), limit).unref();
const ended = new Promise<never>((_, reject) => {
  ending.signal.addEventListener('abort', () => reject(ending.signal.reason as Error));
});
ended.catch(() => {});

const startedAt = performance.now();
const sections: Section[] = [];
let failure: Error | undefined;
const stage = await BenchStage.open({ profile: options.profile });
try {
  for (const name of options.names) {
    process.stderr.write(`${name} ...\n`);
    const settings = { rounds: options.rounds, scale: options.quick ? 0.25 : 1 };
    sections.push(await Promise.race([MEASUREMENTS[name](stage, settings), ended]));
  }
} catch (error) {
  failure = error instanceof Error ? error : new Error(String(error));
} finally {
  await stage.close();
}
await report();
if (failure !== undefined) process.stderr.write(`not finished: ${failure.message}\n`);
// Explicit: a measurement that was given up may still wait for something.
process.exit(failure === undefined ? 0 : ending.signal.aborted ? 130 : 1);

async function report(): Promise<void> {
  const seconds = Math.round((performance.now() - startedAt) / 100) / 10;
  const machine = {
    cores: availableParallelism(),
    model: cpus()[0]?.model ?? 'unknown',
    load: loadavg().map((value) => Math.round(value * 100) / 100),
    node: process.versions.node,
    openssl: process.versions.openssl,
    mosquitto: await mosquittoVersion(),
  };
  if (options.json) {
    process.stdout.write(
      `${JSON.stringify({ ok: failure === undefined, seconds, machine, rounds: options.rounds, quick: options.quick === true, sections }, null, 2)}\n`,
    );
    return;
  }
  process.stdout.write(
    `${formatSections(sections)}

${machine.cores} cores (${machine.model}), load ${machine.load.join(' ')}; ${formatRounds(sections, options.rounds)}; ${seconds} s in all${options.quick ? '; a quick run: figures of few samples' : ''}
Node ${machine.node} brings OpenSSL ${machine.openssl}; ${machine.mosquitto ?? 'no Mosquitto'} uses the system's${machine.mosquitto === null ? '' : ', an older one: part of the difference is OpenSSL'}
`,
  );
}

async function mosquittoVersion(): Promise<string | null> {
  const file = findMosquitto();
  if (file === undefined) return null;
  // It prints its version with its usage and ends with 3.
  const { stdout } = await promisify(execFile)(file, ['-h']).catch((error: { stdout?: string }) => ({
    stdout: error.stdout ?? '',
  }));
  return stdout.split('\n')[0] ?? 'mosquitto';
}
