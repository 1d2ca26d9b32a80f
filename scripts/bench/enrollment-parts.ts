import type { AttemptDetail, AuditEvent } from '#gateway/contract/operator-api.ts';
import type { BenchStage } from './bench-stage.ts';
import type { Figure } from './figure.ts';
import { rounded } from './statistics.ts';

/** What the load process saw of requests that came one after the other: milliseconds. */
type Seen = { deviceIds: readonly string[]; latencies: readonly number[]; handshakes?: readonly number[] | undefined };
type Way = { kind: AttemptDetail['kind']; door: AttemptDetail['door'] };
/** An attempt on the gateway's record, and when the authority had answered (UTC): the time of the audit event. */
type Recorded = { attempt: AttemptDetail; signedAt: number };

export const PARTS = [
  'connection and TLS',
  'credentials',
  'CSR: parse, verify',
  'proof of the key',
  'policy',
  'commit of the intent',
  'authority: sign, journal',
  'commit of the certificate',
  'the rest: sockets, HTTP or MQTT',
] as const;
type Part = (typeof PARTS)[number];

/** Of one device, newest first. */
const NEWEST = 10;

/** Milliseconds, in the mean without the slowest tenth. */
export type Parts = Record<Part, number> & { total: number };

/**
 * Where the time of a request goes while no other is worked on. The steps are those the gateway keeps of every attempt
 * (`gatehouse attempt show`), connection and whole are timed by the load process, the rest is what they leave.
 */
export async function readParts(stage: BenchStage, way: Way, seen: Seen): Promise<Parts> {
  const recorded: Recorded[] = [];
  for (const deviceId of seen.deviceIds) {
    const attempts = await stage.operator.list<AttemptDetail>('listAttempts', { deviceId }, NEWEST);
    const attempt = attempts.find(
      ({ kind, door, outcome }) => kind === way.kind && door === way.door && outcome === 'issued',
    );
    const query = { attemptId: attempt?.id, action: 'certificate.issued' };
    const [issued] = await stage.operator.list<AuditEvent>('listAudit', query, 1);
    if (attempt === undefined || issued === undefined)
      throw new Error(`the gateway has no record of the certificate of ${deviceId}`);
    recorded.push({ attempt, signedAt: issued.at });
  }
  return divide(recorded, seen);
}

/** Apart from reading, so that it can be held against made-up records. */
export function divide(recorded: readonly Recorded[], { latencies, handshakes }: Omit<Seen, 'deviceIds'>): Parts {
  const of = (read: (one: Recorded) => number) => usual(recorded.map(read));
  const step = (name: string) => of(({ attempt }) => lasted(attempt, name));
  const parts = {
    'connection and TLS': handshakes === undefined ? 0 : usual(handshakes),
    credentials: step('credentials'),
    'CSR: parse, verify': step('csr'),
    'proof of the key': step('proof'),
    policy: step('policy'),
    'commit of the intent': step('key'),
    // Both times are whole milliseconds cut off in the same way: over many attempts the error of the mean is small.
    'authority: sign, journal': of(({ attempt, signedAt }) => signedAt - attempt.at - endOf(attempt, 'key')),
    'commit of the certificate': of(({ attempt, signedAt }) => endOf(attempt, 'certificate') - (signedAt - attempt.at)),
  };
  const total = usual(latencies);
  const known = Object.values(parts).reduce((sum, value) => sum + value, 0);
  return { ...parts, 'the rest: sockets, HTTP or MQTT': total - known, total };
}

/** One line for each part, with the ways beside each other. */
export function partFigures(ways: { ticket: Parts; reenroll: Parts; mqtt: Parts }): Figure[] {
  const { ticket, reenroll, mqtt } = ways;
  return (['total', ...PARTS] as const).map((part) => ({
    name: part === 'total' ? 'EST with ticket, one at a time: all' : `  ${part}`,
    value: ticket[part],
    unit: 'ms',
    note: `${Math.round((100 * ticket[part]) / ticket.total)} %; EST re-enroll ${rounded(reenroll[part])} ms, MQTT renew ${rounded(mqtt[part])} ms`,
  }));
}

function endOf({ steps }: AttemptDetail, name: string): number {
  return steps.findLast(({ step }) => step === name)?.after ?? Number.NaN;
}

function lasted({ steps }: AttemptDetail, name: string): number {
  const at = steps.findIndex(({ step }) => step === name);
  return (steps[at]?.after ?? Number.NaN) - (steps[at - 1]?.after ?? 0);
}

/** The mean without the slowest tenth: one that waited for another process of the machine says nothing about ours. */
function usual(values: readonly number[]): number {
  const kept = values.toSorted((a, b) => a - b).slice(0, Math.ceil(values.length * 0.9));
  return kept.reduce((sum, value) => sum + value, 0) / kept.length;
}
