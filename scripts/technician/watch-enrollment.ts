import { setTimeout as delay } from 'node:timers/promises';
import type { EnrollmentProgress } from '#gateway/contract/operator-api.ts';
import { CommandError } from '#scripts/command-line/command-error.ts';
import { nextStepFor } from '#scripts/command-line/next-step.ts';
import type { OperatorClient } from '#scripts/command-line/operator-client.ts';

/** What the gateway has seen of the device, in the order in which it happens. */
export const MILESTONES = ['reached', 'issued', 'connected'] as const;
export type Milestone = (typeof MILESTONES)[number];

/** An attempt that was turned away: why, and what to do about it. */
export type Refusal = {
  attemptId: string;
  at: number;
  code: string | null;
  detail: string;
  advice: string | undefined;
};

export type EnrollmentEvent =
  | { kind: 'milestone'; milestone: Milestone; at: number }
  | { kind: 'refused'; refusal: Refusal };

const POLL_MS = 400;

/**
 * Follows one enrollment until the device is connected. A refused attempt is told and waited past: the next try of the
 * device may be right.
 *
 * @param options `now`: milliseconds UTC; `deadline`: milliseconds UTC
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
    for (const refusal of refusalsOf(progress)) {
      const key = `${refusal.attemptId} ${refusal.at}`;
      if (!seen.has(key)) yield { kind: 'refused', refusal };
      seen.add(key);
    }
    for (const milestone of MILESTONES) {
      const at = progress[`${milestone}At`];
      if (at === null || reached.has(milestone)) continue;
      reached.add(milestone);
      yield { kind: 'milestone', milestone, at };
    }
    if (reached.has('connected')) return;
    requireUsable(progress, deviceId);
    if (Date.now() > deadline) throw timeIsOver(deviceId, reached);
    await delay(POLL_MS, undefined, { signal });
  }
}

/** Oldest first, as they happened. */
function refusalsOf({ attempts }: EnrollmentProgress): Refusal[] {
  return attempts
    .filter(({ outcome }) => outcome !== 'ok')
    .map(({ id, at, code, detail }) => ({
      attemptId: id,
      at,
      code,
      detail: detail ?? code ?? 'no reason was recorded',
      advice: nextStepFor(code),
    }))
    .toReversed();
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
