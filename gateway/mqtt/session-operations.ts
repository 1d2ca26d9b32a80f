import type { SerialNumber } from '#ca/pkix/serial-number.ts';
import type { CsrAnswer } from '#gateway/contract/csr-messages.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { SessionGrant, SessionRequest } from '#gateway/operations/admit-session.ts';
import type { CsrRequest, CsrSender } from '#gateway/operations/answer-csr-message.ts';
import type { EnrollmentSessionRecord } from '#gateway/operations/enrollment-session-records.ts';
import type { DeviceMessageKind, ReportingSession } from '#gateway/operations/receive-device-message.ts';
import type { OpenedSession, SessionRefusal } from '#gateway/operations/session-records.ts';

/** What a device may send to the gateway itself, by the last level of its topic. */
export type ReportKind = DeviceMessageKind | 'csr';

/** The operations this door calls, already joined to their ports. */
export type SessionOperations = {
  /** @throws GatewayError when the CONNECT is refused. */
  admitSession: (request: SessionRequest) => Promise<SessionGrant>;
  isStillAdmitted: (serial: SerialNumber) => boolean;
  /** Asked when the session is registered: closes the race with a quarantine that begins or ends meanwhile. */
  isQuarantined: (deviceId: DeviceId) => boolean;
  recordSessionOpened: (session: OpenedSession) => void;
  recordSessionClosed: (session: Pick<OpenedSession, 'deviceId' | 'serial' | 'since'>, reason: string) => void;
  recordEnrollmentSessionOpened: (session: EnrollmentSessionRecord) => void;
  recordEnrollmentSessionClosed: (session: EnrollmentSessionRecord, reason: string) => void;
  recordSessionRefused: (refusal: SessionRefusal) => void;
  receiveDeviceMessage: (sender: ReportingSession, kind: DeviceMessageKind, payload: Buffer) => Promise<void>;
  /** Never rejects: a refusal is an answer too. */
  answerCsrMessage: (sender: CsrSender, request: CsrRequest) => Promise<CsrAnswer>;
  /** Of a CSR that the door refuses itself: what is told, and kept of it. */
  refuseCsrMessage: (
    sender: Pick<CsrSender, 'kind' | 'deviceId' | 'address'>,
    requestId: string,
    reason: unknown,
  ) => CsrAnswer;
  /** Called when the session listens on its notice topic. */
  deliverPendingNotices: (session: Pick<ReportingSession, 'deviceId' | 'serial'>) => Promise<unknown>;
};
