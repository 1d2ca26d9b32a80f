import type { DeviceId } from '#gateway/contract/device-id.ts';
import { deviceTopics, enrollTopics } from '#gateway/contract/topics.ts';
import type { CsrRequest } from '#gateway/operations/answer-csr-message.ts';

/** What one session asks for certificates, and what it has been told. */
export type Conversation = {
  /** Where it is answered. */
  readonly answerTopic: string;
  /** A granted filter covers the answer topic; until then answers are kept. */
  listens: boolean;
  kept: string[];
  inWork: number;
  /** Asked and told to wait for a person, by requestId. */
  readonly waiting: Map<string, CsrRequest>;
  /** Monotonic milliseconds. */
  readonly openedAt: number;
  /** When it asked last (or came), monotonic milliseconds. */
  lastAskedAt: number;
};

export function openConversation(kind: 'device' | 'enrollment', deviceId: DeviceId, now: number): Conversation {
  const topics = kind === 'device' ? deviceTopics(deviceId) : enrollTopics(deviceId);
  return {
    answerTopic: topics.certificate,
    listens: false,
    kept: [],
    inWork: 0,
    waiting: new Map(),
    openedAt: now,
    lastAskedAt: now,
  };
}
