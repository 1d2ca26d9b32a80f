import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { NoticeKind } from '#gateway/contract/notice.ts';
import type { NoticeState } from '#gateway/contract/operator-api.ts';

/** A line of the outbox: written in the transaction that causes it, delivered until the agent acknowledges it. */
export type NoticeRecord = {
  id: string;
  deviceId: DeviceId;
  seq: number;
  kind: NoticeKind;
  /** The signed notice, ready to send (compact JWS). */
  token: string;
  state: NoticeState;
  createdAt: number;
  expiresAt: number;
  sentAt: number | null;
  ackedAt: number | null;
  detail: string | null;
};

/** States in which the agent has not yet said how it ended: these are sent again at every connect. */
export const UNFINISHED_NOTICE_STATES = ['outbox', 'sent', 'received'] as const satisfies readonly NoticeState[];
