import { type AdmitDeps, admitSession, isStillAdmitted } from '#gateway/operations/admit-session.ts';
import { type AnswerDeps, answerCsrMessage, refuseCsrMessage } from '#gateway/operations/answer-csr-message.ts';
import { type DeliverDeps, deliverPendingNotices } from '#gateway/operations/deliver-notices.ts';
import { type DetectDeps, watchRefusal, watchTakeOver } from '#gateway/operations/detect-clones.ts';
import {
  recordEnrollmentSessionClosed,
  recordEnrollmentSessionOpened,
} from '#gateway/operations/enrollment-session-records.ts';
import { type ReceiveDeps, receiveDeviceMessage } from '#gateway/operations/receive-device-message.ts';
import {
  recordSessionClosed,
  recordSessionOpened,
  recordSessionRefused,
  type SessionRecordDeps,
} from '#gateway/operations/session-records.ts';
import type { WindowTeller } from '#gateway/operations/tell-window.ts';
import type { SessionOperations } from './mqtt/session-operations.ts';

type Deps = AdmitDeps &
  AnswerDeps &
  DeliverDeps &
  DetectDeps &
  ReceiveDeps &
  SessionRecordDeps & { windows: Pick<WindowTeller, 'listens' | 'note'> };

export function bindMqttOperations(deps: Deps): SessionOperations {
  return {
    admitSession: (request) => admitSession(deps, request),
    isStillAdmitted: (serial) => isStillAdmitted(deps, serial),
    isQuarantined: (deviceId) => deps.quarantined.has(deviceId),
    recordSessionOpened: (session) => {
      recordSessionOpened(deps, session);
      watchTakeOver(deps, session);
    },
    recordSessionClosed: (session, reason) => recordSessionClosed(deps, session, reason),
    recordEnrollmentSessionOpened: (session) => recordEnrollmentSessionOpened(deps, session),
    recordEnrollmentSessionClosed: (session, reason) => recordEnrollmentSessionClosed(deps, session, reason),
    recordSessionRefused: (refusal) => {
      recordSessionRefused(deps, refusal);
      void watchRefusal(deps, refusal);
    },
    receiveDeviceMessage: (session, kind, payload) => receiveDeviceMessage(deps, session, kind, payload),
    answerCsrMessage: (sender, request) => answerCsrMessage(deps, sender, request),
    refuseCsrMessage: (sender, requestId, reason) => refuseCsrMessage(deps, sender, requestId, reason),
    deliverPendingNotices: async (session) => {
      deps.windows.listens(session);
      await deliverPendingNotices(deps, session.deviceId);
    },
  };
}
