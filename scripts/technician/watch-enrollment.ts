import { setTimeout as delay } from 'node:timers/promises';
import type { EnrollmentProgress } from '#gateway/contract/operator-api.ts';
import { CommandError } from '#scripts/command-line/command-error.ts';
import { nextStepFor } from '#scripts/command-line/next-step.ts';
import type { OperatorClient } from '#scripts/command-line/operator-client.ts';

/** What the gateway has seen of the device, in the order in which it happens. */
const MILESTONES = ['reached', 'issued', 'connected'] as const;
export type Milestone = (typeof MILESTONES)[number];

/** An attempt that was turned away: why, and what to do about it. */
export type Refusal = {
  kind: 'refused';
  attemptId: string;
  at: number;
  code: string | null;
  detail: string;
  advice: string | undefined;
};

export type EnrollmentEvent = { kind: 'milestone'; milestone: Milestone; at: number } | Refusal;

const POLL_MS = 400;

/**
 * Follows one enrollment until the device is connected. A refused attempt is told and waited past: the next try of the
 * device may be right.
 *
 * @param options `deadline`: milliseconds UTC
 * @throws CommandError when the time is over or the ticket can no longer be used
 */
export async function* watchEnrollment(
  operator: OperatorClient,
  deviceId: string,
  { deadline, signal }: { deadline: number; signal: AbortSignal },
): AsyncGenerator<EnrollmentEvent> {
  const seen = new Set<string>();
  const reached = new Set<Milestone>();
  for (;;) {
    const progress = await operator.call<EnrollmentProgress>('showProgress', { params: [deviceId] });
    const events = [...milestonesOf(progress), ...refusalsOf(progress, deviceId)];
    for (const event of events.toSorted((one, other) => one.at - other.at)) {
      const key = event.kind === 'milestone' ? event.milestone : `${event.attemptId} ${event.at}`;
      if (seen.has(key)) continue;
      seen.add(key);
      if (event.kind === 'milestone') reached.add(event.milestone);
      yield event;
    }
    if (reached.has('connected')) return;
    requireUsable(progress, deviceId);
    if (Date.now() > deadline) throw timeIsOver(deviceId, reached);
    await delay(POLL_MS, undefined, { signal });
  }
}

function milestonesOf(progress: EnrollmentProgress): EnrollmentEvent[] {
  return MILESTONES.flatMap((milestone) => {
    const at = progress[`${milestone}At`];
    return at === null ? [] : [{ kind: 'milestone' as const, milestone, at }];
  });
}

function refusalsOf({ attempts }: EnrollmentProgress, deviceId: string): Refusal[] {
  return attempts
    .filter(({ outcome }) => outcome !== 'ok')
    .map(({ id, at, code, detail }) => ({
      kind: 'refused',
      attemptId: id,
      at,
      code,
      detail: detail ?? code ?? 'no reason was recorded',
      advice: nextStepFor(code, deviceId),
    }));
}

function requireUsable({ ticketState, issuedAt }: EnrollmentProgress, deviceId: string): void {
  if (issuedAt !== null || (ticketState !== 'expired' && ticketState !== 'revoked')) return;
  throw new CommandError('FAILED', `the ticket of ${deviceId} is ${ticketState}`, {
    advice: `start again for a new one: npm run technician -- ${deviceId}`,
  });
}

function timeIsOver(deviceId: string, reached: ReadonlySet<Milestone>): CommandError {
  if (!reached.has('reached')) {
    return new CommandError('FAILED', `${deviceId} has not reached the gateway`, {
      advice: 'on the device, check network, DNS and firewall to the address in the join URL; the ticket stays good',
    });
  }
  return new CommandError('FAILED', `${deviceId} is not connected yet`, {
    advice: reached.has('issued')
      ? 'it has its certificate; start the agent on the device: gatehouse-agent run'
      : 'read what the agent printed on the device; the ticket stays good',
  });
}
