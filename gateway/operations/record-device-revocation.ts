import type { SerialNumber } from '#ca/pkix/serial-number.ts';
import type { RevocationReason } from '#ca/revocation/reasons.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { DeviceState } from '#gateway/contract/operator-api.ts';
import { auditEntry } from '#gateway/domain/audit-entry.ts';
import type { CertificateRecord } from '#gateway/domain/certificate-record.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import { isRevocable } from '#gateway/domain/revocable.ts';
import type { Tables } from '#gateway/ports/store.ts';
import { refuseRequest } from './decide-requests.ts';
import { endClaim } from './end-claim.ts';
import { endQuarantineNotices } from './end-quarantine-notices.ts';
import { markRevoked } from './mark-revoked.ts';
import { type QueueNoticeDeps, queueNotice } from './queue-notice.ts';
import { resolveOpenAlarms } from './resolve-alarms.ts';

/** What was revoked of one device, and the notice that tells it. */
export type RecordedRevocation = {
  deviceId: DeviceId | null;
  serials: SerialNumber[];
  /** What else is good for nothing any more: claims, and what was replaced by one of these. */
  ended: CertificateRecord[];
  noticeId: string | undefined;
};

type DeviceRevocation = {
  deviceId: DeviceId;
  reason: RevocationReason;
  actor: string;
  /** `retired`: for good; `revoked`: a new ticket may bring it back. */
  becomes: Extract<DeviceState, 'revoked' | 'retired'>;
};

const NOTICE_LIFE_MS = 7 * 24 * 3600 * 1000;

/**
 * Everything a device could come back with, revoked inside the caller's transaction: certificates, tickets with their
 * claims, what is under way; with notice and audit.
 * @throws GatewayError NOT_FOUND
 */
export async function recordDeviceRevocation(
  tables: Tables,
  deps: QueueNoticeDeps,
  order: DeviceRevocation,
  now: number,
): Promise<RecordedRevocation> {
  const { deviceId, reason, actor } = order;
  const device = await tables.devices.find(deviceId);
  if (device === undefined) throw new GatewayError('NOT_FOUND', `no device "${deviceId}" is registered`);
  const revocable = (await tables.certificates.listByDevice(deviceId)).filter((certificate) =>
    isRevocable(certificate, now),
  );
  for (const certificate of revocable) {
    await markRevoked(tables, certificate, { reason, now, requestedBy: actor });
    await tables.audit.append(
      auditEntry({
        at: now,
        actor,
        action: 'certificate.revoked',
        subject: deviceId,
        detail: `serial ${certificate.serial}: ${reason}`,
      }),
    );
  }
  const ended: CertificateRecord[] = [];
  for (const ticket of await tables.tickets.listByDevice(deviceId)) {
    if (ticket.revokedAt !== null || ticket.spentAt !== null) continue;
    await tables.tickets.update(ticket.id, { revokedAt: now });
    ended.push(...(await endClaim(tables, ticket, { now, actor, why: 'its device was revoked' })));
  }
  // What is under way, or waits for a person, was asked for before this.
  const requests = await tables.enrollmentRequests.listOpenByDevice(deviceId);
  for (const { requestId } of await tables.enrollments.listUnfinishedByDevice(deviceId)) {
    const used = requestId === null ? undefined : await tables.enrollmentRequests.find(requestId);
    if (used !== undefined) requests.push(used);
  }
  for (const request of requests) {
    await refuseRequest(tables, request, { note: 'the device was revoked', actor, now });
  }
  // Nobody is left in two places.
  const decision = `the device was ${order.becomes}: ${reason}`;
  await resolveOpenAlarms(tables, { deviceId, decision, actor, now });
  await endQuarantineNotices(tables, { deviceId, now, why: 'the device was revoked' });
  // Retired for good, it gives its hardware back: the TPM may become another device with another ticket.
  if (order.becomes === 'retired') await tables.endorsements.remove(deviceId);
  if (device.state !== 'retired') await tables.devices.update(deviceId, { state: order.becomes });
  await tables.audit.append(
    auditEntry({
      at: now,
      actor,
      action: order.becomes === 'retired' ? 'device.retired' : 'device.revoked',
      subject: deviceId,
      detail: device.state === 'retired' ? `${reason}; it was retired before and stays so` : reason,
    }),
  );
  const serials = revocable.map(({ serial }) => serial);
  const advice =
    order.becomes === 'retired'
      ? 'this device was retired; it may be switched off'
      : 'an operator revoked this device; to bring it back, stop the agent and enroll again with a new ticket: gatehouse-agent enroll --replace JOIN-URL';
  const noticeId = await queueRevokedNotice(tables, deps, { deviceId, serials, reason, advice, actor, now });
  return { deviceId, serials, ended, noticeId };
}

/** The notice that tells a device which of its certificates are not good any more. @returns undefined: it is not told. */
export async function queueRevokedNotice(
  tables: Tables,
  deps: QueueNoticeDeps,
  told: {
    deviceId: DeviceId;
    serials: SerialNumber[];
    reason: RevocationReason;
    advice: string;
    actor: string;
    now: number;
  },
): Promise<string | undefined> {
  const { deviceId, serials, reason, advice, actor, now } = told;
  // A stolen key must not be warned: no notice at all.
  if (reason === 'keyCompromise' || serials.length === 0) return undefined;
  const notice = { kind: 'revoked', body: { serials, reason, advice } } as const;
  return (await queueNotice(tables, deps, { deviceId, now, life: NOTICE_LIFE_MS, actor, notice })).id;
}
