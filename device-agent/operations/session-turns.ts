import { reconnectDelay } from '#device-agent/domain/backoff.ts';
import type { Identity } from './identity.ts';

/** A stored identity that may be shown to the broker, and how that went so far. */
export type Contender = {
  readonly identity: Identity;
  /** Attempts in a row without a session, of whatever kind. */
  failures: number;
  /** Of them, those answered with CONNACK 4 or 5. */
  refusals: number;
  /** Monotonic milliseconds; no attempt before. */
  notBefore: number;
  /** 0 before its first. */
  lastTurn: number;
};

export function newContender(identity: Identity): Contender {
  return { identity, failures: 0, refusals: 0, notBefore: 0, lastTurn: 0 };
}

/** Forgets what went wrong. */
export function clearRecord(contender: Contender): void {
  Object.assign(contender, { failures: 0, refusals: 0, notBefore: 0 });
}

/** @param attempt `now` in monotonic milliseconds, 0 <= `fraction` < 1. */
export function recordFailure(
  contender: Contender,
  attempt: { isRefusal: boolean; now: number; fraction: number },
): void {
  contender.notBefore = attempt.now + reconnectDelay(contender.failures, attempt.fraction);
  contender.failures += 1;
  if (attempt.isRefusal) contender.refusals += 1;
}

/**
 * Who connects next while there is no session: the one whose back-off ends first; of those whose back-off has ended the
 * one that has waited longest for a turn, so that none keeps another from its turn. The first given wins a draw.
 */
export function chooseTurn<Some extends Contender>(contenders: readonly [Some, ...Some[]], now: number): Some {
  return contenders.reduce((best, other) => {
    const [bestAt, otherAt] = [Math.max(now, best.notBefore), Math.max(now, other.notBefore)];
    return otherAt < bestAt || (otherAt === bestAt && other.lastTurn < best.lastTurn) ? other : best;
  });
}

/** So many refusals and the new certificate counts as refused: one alone may be a gateway that is just starting. */
const CANDIDATE_ATTEMPTS = 3;

/** Whether the candidate may be given up, once the current identity has shown by a later session that it still works. */
export function isHopeless(candidate: Contender, hasExpired: boolean): boolean {
  return candidate.refusals >= CANDIDATE_ATTEMPTS || (hasExpired && candidate.failures >= CANDIDATE_ATTEMPTS);
}
