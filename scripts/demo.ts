import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { DemoStage } from './demo/demo-stage.ts';
import { liveOneLife, PRESS } from './demo/device-life.ts';
import { printFailure } from './demo/print-failure.ts';
import { printNextCommands } from './demo/print-next-commands.ts';
import { Timeline } from './demo/timeline.ts';
import { TpmLife } from './demo/tpm-life.ts';

const USAGE = `Usage: npm run demo -- [options]

One device, its whole life, on real processes in a temporary folder, beside one with a software TPM where swtpm is
installed; then everything stays up until Ctrl-C.

  --exit   end after the last step: exit code 0 only when every step was verified
  --keep   leave the temporary folder behind
  --json   the timeline as JSON on stdout
  --help   this text

Example: npm run demo -- --exit`;

const flag = { type: 'boolean' } as const;

function readOptions() {
  try {
    return parseArgs({ options: { exit: flag, keep: flag, json: flag, help: flag } }).values;
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n${USAGE}\n`);
    process.exit(2);
  }
}

const options = readOptions();
if (options.help) {
  process.stdout.write(`${USAGE}\n`);
  process.exit(0);
}

const ending = new AbortController();
/** Resolves when a person, or the process that started us, wants the demo to end. */
const ended = new Promise<void>((resolve) => {
  const end = () => {
    ending.abort();
    resolve();
  };
  for (const event of ['SIGINT', 'SIGTERM', 'SIGHUP', 'disconnect'] as const) process.on(event, end);
  process.channel?.unref();
});

const folder = await mkdtemp(join(tmpdir(), 'gatehouse-demo-'));
const stage = new DemoStage(folder, ending.signal);
const timeline = new Timeline(options.json !== true);
const tpm = await TpmLife.begin(folder);
const isVerified = await play();
if (options.json) {
  process.stdout.write(
    `${JSON.stringify({ ok: isVerified, folder, steps: timeline.steps, leftOut: timeline.leftOut }, null, 2)}\n`,
  );
}
if (isVerified && !options.exit) {
  // Its agent would knock for ever, and a running agent cannot be enrolled anew.
  await stage.stopAgent(PRESS);
  if (!options.json) printNextCommands(stage, { hasTpm: typeof tpm !== 'string' });
  const alive = setInterval(() => undefined, 2 ** 30);
  await ended;
  clearInterval(alive);
}
const exitCode = isVerified ? 0 : ending.signal.aborted ? 130 : 1;
// Commands of a step that was given up end, too.
ending.abort();
await stage.stop();
if (typeof tpm !== 'string') await tpm.dispose();
if (options.keep) process.stderr.write(`kept ${folder}\n`);
else await rm(folder, { recursive: true, force: true });
// Explicit: a step that was given up may still wait for something.
process.exit(exitCode);

/** @returns true only when every step was done and verified. */
async function play(): Promise<boolean> {
  const life = liveOneLife(stage, timeline, tpm).then(
    () => true,
    (error: unknown) => {
      if (!ending.signal.aborted) printFailure(stage, timeline, error);
      return false;
    },
  );
  return Promise.race([life, ended.then(() => false)]);
}
