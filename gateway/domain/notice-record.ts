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

/** States in which nothing more happens to a notice. */
export const FINISHED_NOTICE_STATES = ['done', 'failed', 'expired'] as const satisfies readonly NoticeState[];

/** How long past its end a finished one is kept to be looked at: a device whose clock stays wrong causes one every ten minutes. */
export const NOTICE_HISTORY_MS = 7 * 24 * 3600_000;
