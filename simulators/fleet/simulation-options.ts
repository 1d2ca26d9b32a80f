import { parseArgs } from 'node:util';
import { ENDORSEMENT_KINDS, type EndorsementKind } from '#ca/tpm2/endorsement-kind.ts';
import { KEY_KINDS, type KeyKind } from '#gateway/contract/operator-api.ts';
import { SimulatorError } from '#simulators/simulator-error.ts';
import { RENEW_BY, type RenewBy } from './fleet-phases.ts';
import { SCENARIOS, type Scenario } from './plan-phases.ts';

const KEY_PLACES = ['software', 'tpm'] as const;
type KeyPlace = (typeof KEY_PLACES)[number];
const EK_KINDS = Object.keys(ENDORSEMENT_KINDS) as EndorsementKind[];

export type SimulationOptions = {
  devices: number;
  scenario: Scenario;
  concurrency: number;
  /** Data folder of a gateway on this host; without it and `readyFile` the run starts one of its own. */
  gateway: string | undefined;
  readyFile: string | undefined;
  group: string | undefined;
  keyKind: KeyKind;
  /** Where the keys live. */
  key: KeyPlace;
  /** What each TPM has, when keys live in TPMs. */
  endorsementKey: EndorsementKind;
  /** Folder of the TPMs' maker, for a gateway that is not our own. */
  maker: string;
  renewBy: RenewBy;
  holdMs: number;
  /** How long a campaign of renewals takes. */
  withinMs: number;
  timeLimitMs: number;
  stepMs: number;
  /** Devices keep a CRL and hear of revocations, as agents do. */
  crl: boolean;
  retire: boolean;
  keep: boolean;
  json: boolean;
};

export const USAGE = `Usage: npm run simulate -- [options]

Devices with keys of their own, running the real agent in this one process, against a real gateway.

  --devices N          how many                                      (500)
  --scenario NAME      ${SCENARIOS.join(', ')}           (all)
  --gateway DIR        data folder of a gateway that runs here       (starts one of its own)
  --ready-file FILE    the same, by the file of \`serve --ready-file\`
  --concurrency N      devices at work at once; a reconnect is always all at once  (32)
  --group NAME         group to register the devices in              (default)
  --algorithm KIND     ${KEY_KINDS.slice(0, 4).join(', ')}, ...           (ec-p256)
  --key PLACE          software; tpm: every device has a TPM in memory and attests its key  (software)
  --endorsement-key K  of these TPMs: ${EK_KINDS.join(', ')}  (ec-p256)
  --maker DIR          their maker, for --gateway and --ready-file; made when there is none  (./simulated-tpm-maker)
  --hold TIME          how long sessions are held                    (10s)
  --renew-by WHO       notice: ordered by the gateway; agent: by the device itself; campaign: all, spread  (notice)
  --within TIME        how long such a campaign takes; an hour of a fleet, compressed  (60s)
  --no-crl             devices hear of no revocations and fetch no CRL, as with \`gatehouse-agent run --no-crl\`
  --retire             retire the devices at the end, for a gateway that lives on
  --step-limit TIME    what one device may take for one phase        (60s)
  --time-limit TIME    the whole run ends then, with what it has     (10m)
  --keep               leave the folder of the own gateway behind
  --json               results as JSON on stdout

Times: 500ms, 10s, 2m. Ctrl-C ends cleanly and shows the results so far. Exit code 1 when anything failed.

Examples:
  npm run simulate -- --devices 500
  npm run simulate -- --devices 500 --key tpm --scenario enroll
  npm run simulate -- --gateway ./data --devices 50 --scenario reconnect --retire --json`;

/** @returns 'help' when that was asked for. @throws SimulatorError USAGE */
export function parseSimulationOptions(args: readonly string[]): SimulationOptions | 'help' {
  const values = readArguments(args);
  if (values.help === true) return 'help';
  if (values.gateway !== undefined && values['ready-file'] !== undefined)
    throw usage('--gateway and --ready-file name the same thing: give one');
  if (values.key === 'tpm' && (values.algorithm ?? 'ec-p256') !== 'ec-p256')
    throw usage(`keys in a TPM are of kind ec-p256, not ${values.algorithm}: leave --algorithm out`);
  if (values.key !== 'tpm' && (values['endorsement-key'] ?? values.maker) !== undefined)
    throw usage('--endorsement-key and --maker are about TPMs: add --key tpm');
  const renewBy = choice('--renew-by', values['renew-by'] ?? 'notice', RENEW_BY);
  const withinMs = duration('--within', values.within ?? '60s');
  return {
    devices: count('--devices', values.devices ?? '500', 20_000),
    scenario: choice('--scenario', values.scenario ?? 'all', SCENARIOS),
    concurrency: count('--concurrency', values.concurrency ?? '32', 2_000),
    gateway: values.gateway,
    readyFile: values['ready-file'],
    group: values.group,
    keyKind: choice('--algorithm', values.algorithm ?? 'ec-p256', KEY_KINDS),
    key: choice('--key', values.key ?? 'software', KEY_PLACES),
    endorsementKey: choice('--endorsement-key', values['endorsement-key'] ?? 'ec-p256', EK_KINDS),
    maker: values.maker ?? './simulated-tpm-maker',
    renewBy,
    holdMs: duration('--hold', values.hold ?? '10s'),
    withinMs,
    // The last device of a campaign has its turn at the end of it.
    stepMs: duration('--step-limit', values['step-limit'] ?? '60s') + (renewBy === 'campaign' ? withinMs : 0),
    timeLimitMs: duration('--time-limit', values['time-limit'] ?? '10m'),
    crl: values['no-crl'] !== true,
    retire: values.retire === true,
    keep: values.keep === true,
    json: values.json === true,
  };
}

function readArguments(args: readonly string[]) {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean' } as const;
  try {
    return parseArgs({
      args: [...args],
      options: {
        devices: text,
        scenario: text,
        gateway: text,
        'ready-file': text,
        concurrency: text,
        group: text,
        algorithm: text,
        key: text,
        'endorsement-key': text,
        maker: text,
        hold: text,
        'renew-by': text,
        within: text,
        'no-crl': flag,
        retire: flag,
        'step-limit': text,
        'time-limit': text,
        keep: flag,
        json: flag,
        help: { type: 'boolean', short: 'h' },
      },
    }).values;
  } catch (cause) {
    throw usage(cause instanceof Error ? cause.message : String(cause));
  }
}

const UNITS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 } as const;
const LONGEST_MS = 24 * UNITS.h;

/** `500ms`, `10s`, `2m`, `1h`; more than a day is not a simulation. @returns milliseconds */
function duration(option: string, text: string): number {
  const [, amount, unit] = /^(\d{1,6})(ms|s|m|h)$/.exec(text) ?? [];
  const ms = amount === undefined ? 0 : Number(amount) * UNITS[unit as keyof typeof UNITS];
  if (ms < 1 || ms > LONGEST_MS) throw usage(`${option} is a time such as 500ms, 10s or 2m, not "${text}"`);
  return ms;
}

function count(option: string, text: string, most: number): number {
  const number = /^\d+$/.test(text) ? Number(text) : 0;
  if (number < 1 || number > most) throw usage(`${option} is a whole number from 1 to ${most}, not "${text}"`);
  return number;
}

function choice<T extends string>(option: string, text: string, choices: readonly T[]): T {
  const found = choices.find((each) => each === text);
  if (found === undefined) throw usage(`${option} is one of ${choices.join(', ')}, not "${text}"`);
  return found;
}

function usage(message: string): SimulatorError {
  return new SimulatorError('USAGE', message, { advice: 'npm run simulate -- --help shows what can be typed' });
}
