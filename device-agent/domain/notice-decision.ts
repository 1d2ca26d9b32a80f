import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { Notice } from '#gateway/contract/notice.ts';
import type { HandledNotice, NoticeMemory } from './notice-memory.ts';

export type NoticeDecision =
  | { kind: 'act' }
  /** Seen before: answer again what was answered, act only if the first time did not come to an end. */
  | { kind: 'repeat'; handled: HandledNotice }
  /** `answer`: whether the gateway is told `failed`, so that it stops sending. Another device's notice gets no answer. */
  | { kind: 'refuse'; reason: string; answer: boolean };

/**
 * What to do with a notice whose signature has been verified.
 * @param now milliseconds UTC, undefined when no clock can be trusted: `expiresAt` is then not looked at.
 */
export function decideNotice(
  notice: Notice,
  facts: { deviceId: DeviceId; memory: NoticeMemory; now: number | undefined },
): NoticeDecision {
  if (notice.deviceId !== facts.deviceId) {
    return { kind: 'refuse', reason: 'the notice is for another device', answer: false };
  }
  const handled = facts.memory.handled.find((h) => h.id === notice.id);
  if (handled) return { kind: 'repeat', handled };
  if (notice.seq <= facts.memory.highestSeq) {
    const reason = `the notice is older (seq ${notice.seq}) than one already obeyed (seq ${facts.memory.highestSeq})`;
    return { kind: 'refuse', reason, answer: true };
  }
  // Whether one that tells the time has expired, only a clock could say that is not in question.
  if (notice.kind !== 'time' && facts.now !== undefined && facts.now > notice.expiresAt) {
    return { kind: 'refuse', reason: 'the notice has expired', answer: true };
  }
  return { kind: 'act' };
}
