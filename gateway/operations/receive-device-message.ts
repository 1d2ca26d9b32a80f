import type { DeviceId } from '#gateway/contract/device-id.ts';
import { parseBoundedJson } from '#gateway/contract/parse-bounded-json.ts';
import { type AttestEvidence, type NoticeAck, parseAgentState, parseNoticeAck } from '#gateway/contract/reports.ts';
import { auditEntry } from '#gateway/domain/audit-entry.ts';
import type { LiveSession } from '#gateway/ports/broker.ts';
import type { Log } from '#gateway/ports/log.ts';
import type { Metrics } from '#gateway/ports/metrics.ts';
import { judgeAttestation, nameOriginal } from './accept-attestation.ts';
import { type ActivateDeps, supersedeOlder } from './activate-certificate.ts';
import { noteFailed } from './campaign-results.ts';
import { type DetectDeps, watchReport } from './detect-clones.ts';
import { noteRolledBack, type RolledBackDeps } from './note-rolled-back.ts';
import type { NoticeAcks } from './notice-acks.ts';
import { type SendTimeDeps, sendTime } from './send-time.ts';
import type { TrustReports } from './tell-trust.ts';
import type { WindowTeller } from './tell-window.ts';

export type ReceiveDeps = ActivateDeps &
  DetectDeps &
  SendTimeDeps &
  RolledBackDeps & {
    log: Log;
    metrics: Metrics;
    acks: NoticeAcks;
    trustReports?: Pick<TrustReports, 'note'>;
    windows?: Pick<WindowTeller, 'note'>;
  };

export type DeviceMessageKind = 'ack' | 'state';

/** since: when it began, milliseconds UTC. */
export type ReportingSession = Pick<LiveSession, 'deviceId' | 'serial' | 'address' | 'since'>;

/** What a device reports about itself. A report that makes no sense is dropped and said in the log; it never ends a session. */
export async function receiveDeviceMessage(
  deps: ReceiveDeps,
  session: ReportingSession,
  kind: DeviceMessageKind,
  payload: Buffer,
): Promise<void> {
  const { deviceId, serial } = session;
  const value = parseJson(payload);
  switch (kind) {
    case 'ack': {
      const ack = parseNoticeAck(value);
      if (ack === undefined) return deps.log.warn('acknowledgement not understood', { deviceId });
      if (ack.evidence !== undefined) return receiveProof(deps, session, { ...ack, evidence: ack.evidence });
      return recordAck(deps, deviceId, ack);
    }
    case 'state': {
      const state = parseAgentState(value);
      if (state === undefined) return deps.log.warn('state report not understood', { deviceId });
      deps.log.debug('state reported', { deviceId, ...state });
      if (state.connected && state.rolledBack !== undefined) noteRolledBack(deps, deviceId, state.rolledBack);
      // Its will is sent by the broker, in words it wrote when it connected.
      if (state.connected) watchReport(deps, session, value as object, state);
      if (state.connected && state.anchors !== undefined) await deps.trustReports?.note(deviceId, state.anchors);
      // Only the certificate it is connected with: a report cannot supersede on behalf of another one.
      if (state.connected && state.serial === serial) await supersedeOlder(deps, serial);
      if (state.connected && state.clock !== undefined) await sendTime(deps, deviceId, state.clock);
      if (state.connected && state.serial === serial) await deps.windows?.note(session, state.nextRenewalAt);
      return;
    }
  }
}

async function receiveProof(
  deps: ReceiveDeps,
  session: ReportingSession,
  proof: NoticeAck & { evidence: AttestEvidence },
): Promise<void> {
  const { ack, isProven } = await judgeAttestation(deps, session, proof);
  await recordAck(deps, session.deviceId, ack, isProven);
  if (isProven) await nameOriginal(deps, session);
}

const RANK = { outbox: 0, sent: 1, received: 2, done: 3, failed: 3, expired: 3 } as const;

/** @param isProven the evidence that came with it was verified */
async function recordAck(deps: ReceiveDeps, deviceId: DeviceId, said: NoticeAck, isProven = false): Promise<void> {
  // First those who wait (a revocation closes the session now), then the books.
  deps.acks.acknowledged(said.noticeId);
  const now = deps.clock.now();
  const recorded = await deps.store.write(async (tables) => {
    const notice = await tables.notices.find(said.noticeId);
    // Somebody else's notice, an unknown one, or an older word about it.
    if (notice?.deviceId !== deviceId || RANK[said.outcome] <= RANK[notice.state]) return undefined;
    // A proof is done when it holds, not when it is said to be.
    const isUnproven = notice.kind === 'attest' && said.outcome === 'done' && !isProven;
    const ack = isUnproven ? { ...said, outcome: 'failed' as const, detail: 'it came without its evidence' } : said;
    await tables.notices.update(notice.id, { state: ack.outcome, ackedAt: now, detail: ack.detail ?? null });
    if (ack.outcome === 'failed' && notice.kind === 'renew')
      await noteFailed(tables, notice, { detail: ack.detail ?? null, now });
    if (ack.outcome !== 'received') {
      await tables.audit.append(
        auditEntry({
          at: now,
          actor: `device:${deviceId}`,
          action: 'notice.acknowledged',
          subject: deviceId,
          outcome: ack.outcome === 'done' ? 'ok' : 'failed',
          detail: `${notice.kind} ${notice.id}${ack.detail === undefined ? '' : `: ${ack.detail}`}`,
        }),
      );
    }
    return ack.outcome;
  });
  if (recorded !== undefined) deps.metrics.notice(recorded);
}

function parseJson(payload: Buffer): unknown {
  try {
    return parseBoundedJson(payload.toString('utf8'));
  } catch {
    return undefined;
  }
}
