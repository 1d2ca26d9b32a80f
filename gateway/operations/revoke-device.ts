import type { SerialNumber } from '#ca/pkix/serial-number.ts';
import type { RevocationReason } from '#ca/revocation/reasons.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { DeviceRevoked, DeviceState } from '#gateway/contract/operator-api.ts';
import { auditEntry } from '#gateway/domain/audit-entry.ts';
import type { CertificateRecord } from '#gateway/domain/certificate-record.ts';
import { LONGEST_LIFE_MS } from '#gateway/domain/deny-set.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import type { LiveSession } from '#gateway/ports/broker.ts';
import type { Log } from '#gateway/ports/log.ts';
import { StoreError, type Tables } from '#gateway/ports/store.ts';
import { refuseRequest } from './decide-requests.ts';
import { type DeliverDeps, deliverPendingNotices } from './deliver-notices.ts';
import { endClaim } from './end-claim.ts';
import { markRevoked } from './mark-revoked.ts';
import type { NoticeAcks } from './notice-acks.ts';
import type { RevocationPublisher } from './publish-revocations.ts';
import { type QueueNoticeDeps, queueNotice } from './queue-notice.ts';
import { type ShutOutDeps, shutOut } from './shut-out.ts';

export type RevokeDeps = DeliverDeps &
  QueueNoticeDeps &
  ShutOutDeps & { acks: NoticeAcks; revocations: RevocationPublisher; log: Log };

export type RevocationOrder = {
  deviceId: DeviceId;
  reason: RevocationReason;
  actor: string;
  /** Monotonic milliseconds at which the request arrived. */
  requestedAt: number;
  /** `retired`: for good; `revoked`: a new ticket may bring it back. */
  becomes: Extract<DeviceState, 'revoked' | 'retired'>;
};

/** How long a device may take to acknowledge that it is revoked before its socket is closed under it. */
const ACK_WAIT_MS = 1000;
const NOTICE_LIFE_MS = 7 * 24 * 3600 * 1000;

/**
 * Revokes a device and everything it could come back with, in this order: one transaction; the deny set; the live
 * sessions marked; the `revoked` notice, acknowledged within a second or not at all; the sockets closed, the will
 * suppressed; the fleet told and the CRL rebuilt.
 * @returns once the live sessions are closed and the CRL was rebuilt or its rebuilding is under way
 * @throws GatewayError NOT_FOUND
 */
export async function revokeDevice(deps: RevokeDeps, order: RevocationOrder): Promise<DeviceRevoked> {
  const now = deps.clock.now();
  const { deviceId, reason } = order;
  const { serials, claims, noticeId } = await recordOrShutOut(deps, order, now);
  deps.denySet.add(serials, now + LONGEST_LIFE_MS);
  const marked = deps.broker.markRevoked(serials);

  if (noticeId !== undefined && marked.length > 0) {
    const acknowledged = deps.acks.wait(noticeId, ACK_WAIT_MS);
    if ((await deliverPendingNotices(deps, deviceId)) > 0) await acknowledged;
  }
  await shutOut(deps, claims, `revoked: ${reason}`);
  const closedAfterMs = await closeSessions(deps, order, marked);
  if (serials.length > 0) {
    await deps.store.write((tables) => tables.revocations.setClosedAfter(serials, closedAfterMs));
    await deps.revocations.published();
  }
  deps.metrics.revocation(closedAfterMs / 1000, marked.length);
  deps.log.info('device revoked', { deviceId, reason, serials, sessionsClosed: marked.length, closedAfterMs });
  return { deviceId, serials, sessionsClosed: marked.length, closedAfterMs };
}

type RecordedRevocation = { serials: SerialNumber[]; claims: CertificateRecord[]; noticeId: string | undefined };

/**
 * A revocation must work on a full disk too: what cannot be recorded is at least carried out, and the operator is told
 * that it holds only until the gateway restarts.
 */
async function recordOrShutOut(deps: RevokeDeps, order: RevocationOrder, now: number): Promise<RecordedRevocation> {
  try {
    return await deps.store.write((tables) => recordRevocation(tables, deps, order, now));
  } catch (cause) {
    if (!(cause instanceof StoreError) || cause.code !== 'UNAVAILABLE') throw cause;
    const certificates = await deps.store.read.certificates.listByDevice(order.deviceId);
    const standing = certificates.filter((certificate) => isStanding(certificate, now));
    deps.broker.markRevoked(standing.map(({ serial }) => serial));
    await shutOut(deps, standing, `revoked: ${order.reason}`);
    deps.log.error('revocation carried out but not recorded', { deviceId: order.deviceId, reason: order.reason });
    throw new GatewayError(
      'STORE_UNAVAILABLE',
      'the device is shut out until the gateway restarts, but the database cannot be written: free disk space and revoke it again',
      { cause },
    );
  }
}

function isStanding({ state, notAfter }: CertificateRecord, now: number): boolean {
  return (state === 'pending' || state === 'active' || state === 'superseded') && notAfter >= now;
}

/** Status, device state, tickets, notice and audit: all of it or nothing. */
async function recordRevocation(
  tables: Tables,
  deps: QueueNoticeDeps,
  order: RevocationOrder,
  now: number,
): Promise<RecordedRevocation> {
  const { deviceId, reason, actor } = order;
  const device = await tables.devices.find(deviceId);
  if (device === undefined) throw new GatewayError('NOT_FOUND', `no device "${deviceId}" is registered`);
  const standing = (await tables.certificates.listByDevice(deviceId)).filter((certificate) =>
    isStanding(certificate, now),
  );
  for (const certificate of standing) {
    const { serial } = certificate;
    await markRevoked(tables, certificate, { reason, now, requestedBy: actor });
    await tables.audit.append(
      auditEntry({
        at: now,
        actor,
        action: 'certificate.revoked',
        subject: deviceId,
        detail: `serial ${serial}: ${reason}`,
      }),
    );
  }
  const claims: CertificateRecord[] = [];
  for (const ticket of await tables.tickets.listByDevice(deviceId)) {
    if (ticket.revokedAt !== null || ticket.spentAt !== null) continue;
    await tables.tickets.update(ticket.id, { revokedAt: now });
    claims.push(...(await endClaim(tables, ticket, { now, actor, why: 'its device was revoked' })));
  }
  // What waits for a person, or was approved and is under way, was asked for before this.
  const requests = await tables.enrollmentRequests.listOpenByDevice(deviceId);
  for (const { requestId } of await tables.enrollments.listUnfinishedByDevice(deviceId)) {
    const used = requestId === null ? undefined : await tables.enrollmentRequests.find(requestId);
    if (used !== undefined) requests.push(used);
  }
  for (const request of requests) {
    await refuseRequest(tables, request, { note: 'the device was revoked', actor, now });
  }
  // Retired for good, it gives its hardware back: the TPM may become another device with another ticket.
  if (order.becomes === 'retired') await tables.endorsements.remove(deviceId);
  if (device.state !== 'retired') await tables.devices.update(deviceId, { state: order.becomes });
  await tables.audit.append(
    auditEntry({
      at: now,
      actor,
      action: order.becomes === 'retired' ? 'device.retired' : 'device.revoked',
      subject: deviceId,
      detail: reason,
    }),
  );
  const serials = standing.map((certificate) => certificate.serial);
  // A stolen key must not be warned: no notice at all.
  if (reason === 'keyCompromise' || serials.length === 0) return { serials, claims, noticeId: undefined };
  const notice = await queueNotice(tables, deps, {
    deviceId,
    now,
    life: NOTICE_LIFE_MS,
    actor,
    notice: {
      kind: 'revoked',
      body: {
        serials,
        reason,
        advice:
          order.becomes === 'retired'
            ? 'this device was retired; it may be switched off'
            : 'an operator revoked this device; to bring it back, stop the agent and enroll again with a new ticket: gatehouse-agent enroll --replace JOIN-URL',
      },
    },
  });
  return { serials, claims, noticeId: notice.id };
}

async function closeSessions(
  deps: RevokeDeps,
  order: RevocationOrder,
  marked: readonly LiveSession[],
): Promise<number> {
  if (marked.length === 0) return 0;
  await deps.broker.close(marked, `revoked: ${order.reason}`);
  return Math.round((deps.clock.monotonic() - order.requestedAt) * 10) / 10;
}
