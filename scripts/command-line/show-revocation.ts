import type { RevocationJobDetail, RevocationPlanned } from '#gateway/contract/revocation-api.ts';
import { formatTime } from './format-time.ts';
import { printFields, printTable, say } from './output.ts';

export function printRevocation(job: RevocationJobDetail, now: number): void {
  const { id, scope, target, reason, state, rate, createdAt, createdBy, finishedAt, items, closed, note } = job;
  printFields({
    revocation: id,
    of: `${scope} ${target}`,
    reason,
    state: rate === null ? state : `${state}, ${rate} a second`,
    begun: `${formatTime(createdAt, now)} by ${createdBy}`,
    ended: finishedAt === null ? undefined : formatTime(finishedAt, now),
    certificates: formatItems(items),
    sessions:
      closed === null
        ? 'none was open'
        : `${closed.sessions} closed, after ${closed.p50} ms (p50), ${closed.p99} ms (p99), ${closed.max} ms (max)`,
  });
  if (note !== undefined) say(note);
}

export function printRevocations(jobs: readonly RevocationJobDetail[], now: number): void {
  printTable(
    ['revocation', 'of', 'reason', 'state', 'certificates', 'begun'],
    jobs.map(({ id, scope, target, reason, state, items, createdAt }) => [
      id,
      `${scope} ${target}`,
      reason,
      state,
      formatItems(items),
      formatTime(createdAt, now),
    ]),
    'nothing has been revoked this way',
  );
}

export function printPlan({ scope, target, certificates, devices, sessions, sample, note }: RevocationPlanned): void {
  printTable(
    ['certificate', 'device'],
    sample.map(({ serial, deviceId }) => [serial, deviceId ?? '-']),
    'nothing is left to revoke',
  );
  if (certificates > sample.length) say(`and ${certificates - sample.length} more`);
  say(
    `revoking ${scope} ${target} would revoke ${certificates} certificate(s) of ${devices} device(s) and close ${sessions} session(s); nothing was changed`,
  );
  if (note !== undefined) say(note);
}

function formatItems(items: RevocationJobDetail['items']): string {
  const parts = (['revoked', 'waiting', 'unchanged', 'failed'] as const)
    .filter((state) => items[state] > 0)
    .map((state) => `${items[state]} ${state}`);
  return parts.length === 0 ? 'nothing to revoke' : parts.join(', ');
}
