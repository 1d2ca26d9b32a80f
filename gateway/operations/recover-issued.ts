import { type Certificate, parseCertificate } from '#ca/pkix/certificate.ts';
import { PkixError } from '#ca/pkix/pkix-error.ts';
import { readProofLevel } from '#ca/pkix/proof-level.ts';
import { spkiSha256 } from '#ca/pkix/public-key.ts';
import { isSerialNumber } from '#ca/pkix/serial-number.ts';
import { type DeviceId, isDeviceId } from '#gateway/contract/device-id.ts';
import { auditEntry } from '#gateway/domain/audit-entry.ts';
import type { CertificateRecord } from '#gateway/domain/certificate-record.ts';
import type { Device } from '#gateway/domain/device.ts';
import type { Store, Tables } from '#gateway/ports/store.ts';
import { closeTickets } from './close-tickets.ts';
import type { RenewalPlanner } from './renewal-planner.ts';

export type RecoverIssuedDeps = {
  store: Pick<Store, 'write'>;
  trustDomain: string;
  renewals: Pick<RenewalPlanner, 'plan'>;
};

/** `skipped`: a device certificate whose device is not registered, or was revoked, retired or held already. */
export type Recovery = 'known' | 'none of a device' | 'recovered' | 'skipped';

/** Under which an operator decided already that the device is not to come in by itself. */
const RECOVERABLE: readonly Device['state'][] = ['registered', 'enrolled', 'quarantined'];

/**
 * A certificate that the authority has signed and the store does not know, because the store was restored from an older
 * copy: on the record as if it had been issued just now and not used yet, except that nobody waits for its first use.
 * One of those before it was used to ask for it (see standBefore), so that counts as in use; what came before was replaced.
 * @param order.revoked serials on the later lists, which are taken over afterwards: what is there says nothing of the others
 */
export async function recoverIssued(
  deps: RecoverIssuedDeps,
  { at, der }: { at: number; der: Buffer },
  { now, revoked }: { now: number; revoked: ReadonlySet<string> },
): Promise<Recovery> {
  const certificate = parseCertificate(der);
  const { serial } = certificate;
  if (!isSerialNumber(serial)) return 'none of a device';
  const deviceId = deviceOf(certificate, deps.trustDomain);
  return deps.store.write(async (tables) => {
    if ((await tables.certificates.find(serial)) !== undefined) return 'known';
    // Begun on this very record: given up, or finished by reconcileEnrollments.
    if (await tables.enrollments.hasSerial(serial)) return 'known';
    if (deviceId === undefined) return 'none of a device';
    const device = await tables.devices.find(deviceId);
    const isWanted = device !== undefined && RECOVERABLE.includes(device.state);
    const detail = `serial ${serial}, signed ${new Date(at).toISOString()}`;
    if (!isWanted) {
      const why = device === undefined ? 'is not registered' : `is ${device.state}`;
      await tables.audit.append(
        auditEntry({
          at: now,
          actor: 'gateway',
          action: 'certificate.recovered',
          subject: deviceId,
          outcome: 'refused',
          detail: `${detail}: the device ${why}`,
        }),
      );
      return 'skipped';
    }
    const all = await tables.certificates.listByDevice(deviceId);
    const record = recordOf(certificate, serial, deviceId, at);
    if (all.some(({ issuedAt }) => issuedAt > at)) {
      // Not forgotten by a restore, or it would be the newest: it is on record and lets nobody in.
      await tables.certificates.insert({ ...record, state: 'superseded', supersedeAt: at });
    } else if (revoked.has(serial)) {
      await tables.certificates.insert(record);
    } else {
      const lapseMs = ((await tables.groups.find(device.group))?.policy.pendingLapseSeconds ?? 0) * 1000;
      const others = all.filter((other) => !revoked.has(other.serial));
      const before = await supersedeBefore(tables, others, { at, lapseMs });
      const lineageId = before?.lineageId ?? before?.serial ?? null;
      await tables.certificates.insert({ ...record, lineageId, ...deps.renewals.plan(record) });
    }
    // Which of them was used for it is not known any more.
    await closeTickets(tables, { deviceId, createdBefore: at, now, why: 'used or replaced since the backup' });
    await tables.audit.append(
      auditEntry({ at: now, actor: 'gateway', action: 'certificate.recovered', subject: deviceId, detail }),
    );
    return 'recovered';
  });
}

/** @returns the newest of those before; those that may be in use stand, the others do not any more */
async function supersedeBefore(
  tables: Tables,
  all: readonly CertificateRecord[],
  { at, lapseMs }: { at: number; lapseMs: number },
): Promise<CertificateRecord | undefined> {
  const before = all.filter(({ state }) => state === 'active' || state === 'pending');
  const standing = standBefore(before, { at, lapseMs });
  for (const { serial, state } of before.slice(0, standing)) {
    if (state === 'pending')
      await tables.certificates.update(serial, { state: 'active', activatedAt: at, lapseAt: null });
  }
  const replaced = { state: 'superseded', supersedeAt: at, lapseAt: null, renewFrom: null, renewUntil: null } as const;
  for (const { serial } of before.slice(standing)) await tables.certificates.update(serial, replaced);
  return before[0];
}

/**
 * How many of those before, newest first, may be the one that was used to ask for the next. One that is older than an unused
 * one may get has been used, or it would be on a list; those that are younger may have been asked for with it, like the next,
 * and never have arrived.
 */
function standBefore(
  before: readonly Pick<CertificateRecord, 'issuedAt'>[],
  { at, lapseMs }: { at: number; lapseMs: number },
): number {
  const used = before.findIndex(({ issuedAt }) => issuedAt < at - lapseMs);
  return used < 0 ? before.length : used + 1;
}

/** Whose own identity it is; a claim and a registrar have other names. */
function deviceOf({ uris }: Certificate, trustDomain: string): DeviceId | undefined {
  const prefix = `spiffe://${trustDomain}/device/`;
  const [uri] = uris;
  const id = uris.length === 1 && uri?.startsWith(prefix) ? uri.slice(prefix.length) : undefined;
  return id !== undefined && isDeviceId(id) ? id : undefined;
}

function recordOf(
  certificate: Certificate,
  serial: CertificateRecord['serial'],
  deviceId: DeviceId,
  issuedAt: number,
): CertificateRecord {
  const { authorityKeyId, publicKey, sha256, notBefore, notAfter, der } = certificate;
  return {
    serial,
    issuerKeyId: authorityKeyId ?? '',
    deviceId,
    profile: 'device',
    spkiSha256: spkiSha256(publicKey),
    sha256,
    state: 'pending',
    proofLevel: proofOf(certificate),
    notBefore,
    notAfter,
    issuedAt,
    activatedAt: null,
    supersedeAt: null,
    // It may have been in use for long: a device that is away now has to find its way back.
    lapseAt: null,
    revokedAt: null,
    revocationReason: null,
    enrollmentId: null,
    lineageId: null,
    renewFrom: null,
    renewUntil: null,
    der,
  };
}

function proofOf(certificate: Certificate): CertificateRecord['proofLevel'] {
  try {
    return readProofLevel(certificate);
  } catch (error) {
    // Of another version: nothing is known of its key.
    if (error instanceof PkixError) return 'software';
    throw error;
  }
}
