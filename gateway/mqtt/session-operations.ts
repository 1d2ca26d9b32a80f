import type { SerialNumber } from '#ca/pkix/serial-number.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { SessionGrant, SessionRequest } from '#gateway/operations/admit-session.ts';
import type { OpenedSession, SessionRefusal } from '#gateway/operations/session-records.ts';

/** What a device may send to the gateway itself, by the last level of its topic. */
export type ReportKind = 'ack' | 'state' | 'csr';

/** The operations this door calls, already joined to their ports. */
export type SessionOperations = {
  /** @throws GatewayError when the CONNECT is refused. */
  admitSession: (request: SessionRequest) => Promise<SessionGrant>;
  isStillAdmitted: (serial: SerialNumber) => boolean;
  recordSessionOpened: (session: OpenedSession) => void;
  recordSessionClosed: (session: Omit<OpenedSession, 'address'>, reason: string) => void;
  recordSessionRefused: (refusal: SessionRefusal) => void;
  receiveDeviceMessage: (
    sender: { deviceId: DeviceId; serial: SerialNumber },
    kind: ReportKind,
    payload: Buffer,
  ) => Promise<void>;
  /** Called when the session listens on its notice topic. */
  deliverPendingNotices: (deviceId: DeviceId) => Promise<unknown>;
};
