import { createHash } from 'node:crypto';
import type { SerialNumber } from '#ca/pkix/serial-number.ts';
import { type DeviceId, parseDeviceId } from '#gateway/contract/device-id.ts';
import { type AuditEntry, type AuditFacts, auditEntry } from '#gateway/domain/audit-entry.ts';
import type { CertificateRecord } from '#gateway/domain/certificate-record.ts';
import type { Device } from '#gateway/domain/device.ts';
import type { Enrollment } from '#gateway/domain/enrollment.ts';
import { DEFAULT_POLICY, type Group } from '#gateway/domain/group.ts';
import type { NoticeRecord } from '#gateway/domain/notice-record.ts';
import type { RenewalCampaign } from '#gateway/domain/renewal-campaign.ts';
import type { RevocationRecord } from '#gateway/domain/revocation-record.ts';
import type { Ticket } from '#gateway/domain/ticket.ts';
import type { Store } from '#gateway/ports/store.ts';

/** Whole records for tests that care about one field of them. */

export const T0 = Date.UTC(2026, 5, 1);
export const DAY = 24 * 3600 * 1000;

/** Serials in the order of n. */
export function serialOf(n: number): SerialNumber {
  return n.toString(16).padStart(32, '0') as SerialNumber;
}

export function hashOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

export function groupNamed(name: string, change: Partial<Group> = {}): Group {
  return { name, version: 1, policy: DEFAULT_POLICY, updatedAt: T0, ...change };
}

export function deviceNamed(name: string, change: Partial<Device> = {}): Device {
  return {
    deviceId: parseDeviceId(name),
    group: 'default',
    state: 'registered',
    proofLevel: 'software',
    hardwareSerial: null,
    owner: null,
    createdAt: T0,
    noticeSeq: 0,
    trustSeen: null,
    trustSeenAt: null,
    reportCount: null,
    lastReport: null,
    ...change,
  };
}

export function ticketOf(deviceId: DeviceId, id: string, change: Partial<Ticket> = {}): Ticket {
  return {
    id,
    deviceId,
    secretSha256: hashOf(`secret of ${id}`),
    createdAt: T0,
    expiresAt: T0 + DAY,
    createdBy: 'anna',
    boundSpkiSha256: null,
    boundSerial: null,
    spentAt: null,
    claimSerial: null,
    revokedAt: null,
    ...change,
  };
}

export function enrollmentOf(deviceId: DeviceId, n: number, change: Partial<Enrollment> = {}): Enrollment {
  return {
    id: `a-${n}`,
    deviceId,
    kind: 'enroll',
    door: 'est',
    address: '127.0.0.1',
    keyKind: 'ec-p256',
    spkiSha256: hashOf(`key of ${deviceId}`),
    group: 'default',
    ticketId: null,
    grounds: null,
    requestId: null,
    serverKeyFor: null,
    replacesSerial: null,
    serial: serialOf(n),
    evidenceSha256: null,
    order: '{"profile":"device"}',
    state: 'approved',
    createdAt: T0 + n,
    updatedAt: T0 + n,
    ...change,
  };
}

export function certificateOf(
  deviceId: DeviceId | null,
  n: number,
  change: Partial<CertificateRecord> = {},
): CertificateRecord {
  return {
    serial: serialOf(n),
    issuerKeyId: 'c0ffee'.repeat(6),
    deviceId,
    profile: 'device',
    spkiSha256: hashOf(`key ${n}`),
    sha256: hashOf(`certificate ${n}`),
    state: 'pending',
    proofLevel: 'software',
    notBefore: T0,
    notAfter: T0 + 7 * DAY,
    issuedAt: T0 + n,
    activatedAt: null,
    supersedeAt: null,
    lapseAt: T0 + 3600_000,
    revokedAt: null,
    revocationReason: null,
    enrollmentId: `a-${n}`,
    lineageId: null,
    renewFrom: null,
    renewUntil: null,
    der: Buffer.from([0x30, 0x03, 0x02, 0x01, n & 0x7f]),
    ...change,
  };
}

export function revocationOf(n: number, change: Partial<RevocationRecord> = {}): RevocationRecord {
  return {
    serial: serialOf(n),
    deviceId: null,
    reason: 'superseded',
    revokedAt: T0 + n,
    notAfter: T0 + 7 * DAY,
    requestedBy: 'anna',
    closedAfterMs: null,
    ...change,
  };
}

export function noticeOf(deviceId: DeviceId, seq: number, change: Partial<NoticeRecord> = {}): NoticeRecord {
  return {
    id: `n-${deviceId}-${seq}`,
    deviceId,
    seq,
    kind: 'renew',
    token: `token.${seq}.signature`,
    state: 'outbox',
    createdAt: T0 + seq,
    expiresAt: T0 + DAY,
    sentAt: null,
    ackedAt: null,
    detail: null,
    ...change,
  };
}

export function campaignOf(id: string, change: Partial<RenewalCampaign> = {}): RenewalCampaign {
  return {
    id,
    group: null,
    reason: 'why',
    state: 'running',
    createdAt: T0,
    createdBy: 'anna',
    startsAt: T0,
    endsAt: T0 + DAY,
    perMinute: 60,
    abortPercent: 5,
    giveUpSeconds: 3600,
    lastTurnAt: null,
    finishedAt: null,
    detail: null,
    ...change,
  };
}

export function entryAbout(subject: string, change: Partial<AuditFacts> = {}): AuditEntry {
  return auditEntry({ at: T0, actor: 'anna', action: 'device.added', subject, ...change });
}

/** The group "default" and these devices in it. */
export async function addDevices(store: Store, ...names: string[]): Promise<DeviceId[]> {
  await store.write(async ({ groups, devices }) => {
    if ((await groups.find('default')) === undefined) await groups.put(groupNamed('default'), 'anna');
    for (const name of names) await devices.insert(deviceNamed(name));
  });
  return names.map(parseDeviceId);
}
