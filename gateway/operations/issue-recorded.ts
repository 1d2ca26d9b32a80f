import { parseCertificate } from '#ca/pkix/certificate.ts';
import { readProofLevel } from '#ca/pkix/proof-level.ts';
import { spkiSha256 } from '#ca/pkix/public-key.ts';
import { AuthorityError, type AuthorityErrorCode, type CertificateAuthority } from '#ca/ports/certificate-authority.ts';
import type { IssuanceOrder, SerialNumber } from '#ca/ports/issuance-order.ts';
import type { ProofLevel } from '#gateway/contract/operator-api.ts';
import { auditEntry } from '#gateway/domain/audit-entry.ts';
import type { CertificateRecord } from '#gateway/domain/certificate-record.ts';
import { type Device, isBarred } from '#gateway/domain/device.ts';
import type { Enrollment } from '#gateway/domain/enrollment.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { Store, Tables } from '#gateway/ports/store.ts';
import { isGroundStanding } from './enrollment-grounds.ts';
import { isCompromised } from './is-compromised.ts';
import { markRevoked } from './mark-revoked.ts';
import type { RenewalPlanner } from './renewal-planner.ts';

export type IssueDeps = {
  store: Store;
  authority: CertificateAuthority;
  clock: Clock;
  renewals: Pick<RenewalPlanner, 'plan' | 'release' | 'measure'>;
};

type DeviceOrder = Extract<IssuanceOrder, { profile: 'device' }>;

/** Kept with the enrollment, so that exactly the same order can be asked again after a crash or a lost answer. */
export function formatOrder(order: DeviceOrder): string {
  return JSON.stringify({ ...order, publicKey: order.publicKey.toString('base64') });
}

function parseOrder(text: string): DeviceOrder {
  const order = JSON.parse(text) as Omit<DeviceOrder, 'publicKey'> & { publicKey: string };
  return { ...order, publicKey: Buffer.from(order.publicKey, 'base64') };
}

/** What was verified about the key before the order was recorded. */
export function proofLevelOf(enrollment: Pick<Enrollment, 'order'>): ProofLevel {
  return parseOrder(enrollment.order).proofLevel ?? 'software';
}

/**
 * The second half of an issuance: the intent is on record, now the authority signs and the certificate is recorded
 * with its audit event in one transaction. Only then does anybody see it. Safe to do again at any point.
 * @throws GatewayError AUTHORITY_UNAVAILABLE (nothing is lost: the same request asked again goes on from here)
 */
export function issueRecorded(
  deps: IssueDeps,
  enrollment: Enrollment,
  lapseSeconds: number,
): Promise<CertificateRecord> {
  return deps.renewals.measure(() => issueAndRecord(deps, enrollment, lapseSeconds));
}

async function issueAndRecord(
  deps: IssueDeps,
  enrollment: Enrollment,
  lapseSeconds: number,
): Promise<CertificateRecord> {
  let der: Buffer;
  try {
    der = await deps.authority.issue(parseOrder(enrollment.order));
  } catch (cause) {
    if (cause instanceof AuthorityError && REFUSALS.has(cause.code)) throw await giveUp(deps, enrollment, cause);
    if (cause instanceof AuthorityError) {
      throw new GatewayError(
        'AUTHORITY_UNAVAILABLE',
        'the certificate authority does not answer at the moment; ask again',
        {
          cause,
          retryAfter: 5,
          subject: { deviceId: enrollment.deviceId },
        },
      );
    }
    throw cause;
  }
  return recordIssued(deps, enrollment, der, lapseSeconds);
}

/** What the authority will not sign, whoever asks and however often. */
const REFUSALS: ReadonlySet<AuthorityErrorCode> = new Set<AuthorityErrorCode>([
  'ORDER_MALFORMED',
  'PROFILE_UNKNOWN',
  'PROFILE_REFUSED',
  'LINT_FAILED',
]);

/** The intent ends here, and its ticket is free: the next request may be one the authority does sign. */
async function giveUp(deps: IssueDeps, enrollment: Enrollment, cause: AuthorityError): Promise<GatewayError> {
  const why = `the authority refused: ${cause.code}`;
  await deps.store.write((tables) => abandon(tables, enrollment, deps.clock.now(), why));
  return new GatewayError('DEVICE_NOT_ALLOWED', `the certificate authority does not certify this: ${cause.message}`, {
    cause,
    subject: { deviceId: enrollment.deviceId },
  });
}

/** An intent without a certificate ends; inside the caller's transaction. */
export async function abandon(tables: Tables, enrollment: Enrollment, now: number, why: string): Promise<void> {
  await tables.enrollments.update(enrollment.id, { state: 'abandoned', updatedAt: now });
  const ticket = enrollment.ticketId === null ? undefined : await tables.tickets.find(enrollment.ticketId);
  if (ticket?.boundSerial === enrollment.serial) {
    await tables.tickets.update(ticket.id, { boundSerial: null, boundSpkiSha256: null });
  }
  await reopenRequest(tables, enrollment, now);
  await tables.audit.append(
    auditEntry({
      at: now,
      actor: 'gateway',
      action: 'enrollment.abandoned',
      subject: enrollment.deviceId,
      attemptId: enrollment.id,
      detail: why,
    }),
  );
}

/** A person's word was for a certificate that is used: as long as none was, it stands. */
export async function reopenRequest(tables: Tables, enrollment: Enrollment, now: number): Promise<void> {
  const { requestId, deviceId } = enrollment;
  if (requestId === null) return;
  const request = await tables.enrollmentRequests.find(requestId);
  if (request?.state !== 'used' || request.expiresAt <= now) return;
  if ((await tables.enrollmentRequests.findOpen(deviceId, request.spkiSha256)) !== undefined) return;
  await tables.enrollmentRequests.update(request.id, { state: 'approved' });
}

/** Records a certificate the authority has signed for this enrollment. Doing it twice changes nothing. */
export async function recordIssued(
  deps: Pick<IssueDeps, 'store' | 'clock' | 'renewals'>,
  enrollment: Enrollment,
  der: Buffer,
  lapseSeconds: number,
): Promise<CertificateRecord> {
  const now = deps.clock.now();
  const unplanned = recordOf(der, enrollment, now, lapseSeconds);
  const record = { ...unplanned, ...deps.renewals.plan(unplanned) };
  let replaced: CertificateRecord | undefined;
  const outcome = await deps.store.write(async (tables) => {
    const existing = await tables.certificates.find(record.serial);
    if (existing !== undefined) return existing;
    if (!(await isStillWanted(tables, enrollment))) return takeBack(tables, enrollment, record, now);
    replaced =
      enrollment.replacesSerial === null ? undefined : await tables.certificates.find(enrollment.replacesSerial);
    // The first certificate that this one goes back to, over any number of renewals; null when it is the first.
    const lineageId = replaced?.lineageId ?? enrollment.replacesSerial;
    await tables.certificates.insert({ ...record, lineageId });
    await tables.enrollments.update(enrollment.id, { state: 'issued', updatedAt: now });
    await tables.audit.append(
      auditEntry({
        at: now,
        actor: enrollment.grounds ?? actorOf(enrollment),
        action: 'certificate.issued',
        subject: enrollment.deviceId,
        attemptId: enrollment.id,
        detail: `serial ${record.serial}, key ${enrollment.keyKind}, proof ${record.proofLevel ?? 'software'}${enrollment.replacesSerial === null ? '' : `, to replace ${enrollment.replacesSerial}`}`,
      }),
    );
    return record;
  });
  // Whichever of the two is not to be renewed any more has no place in the calendar.
  const superfluous = outcome === record ? replaced : record;
  if (superfluous !== undefined) deps.renewals.release(superfluous);
  if (outcome.state === 'revoked') {
    throw new GatewayError(
      'DEVICE_NOT_ALLOWED',
      'this device or its key was revoked while its certificate was being made',
      {
        subject: { deviceId: enrollment.deviceId },
      },
    );
  }
  return outcome;
}

/** Of an enrollment begun by an older version, or a renewal. */
function actorOf({ kind, ticketId, deviceId }: Enrollment): string {
  return kind === 'enroll' ? `ticket:${ticketId ?? ''}` : `device:${deviceId}`;
}

/** What allowed the enrollment may have been taken back between the intent and the signature. */
async function isStillWanted(tables: Tables, enrollment: Enrollment): Promise<boolean> {
  if ((await tables.enrollments.find(enrollment.id))?.state !== 'approved') return false;
  const device = await tables.devices.find(enrollment.deviceId);
  if (device === undefined || isBarred(device)) return false;
  if (await isCompromised(tables, enrollment.spkiSha256)) return false;
  if (enrollment.kind === 'enroll') return isApprovalStanding(tables, enrollment, device);
  if (enrollment.replacesSerial === null || device.state === 'revoked') return false;
  const replaced = await tables.certificates.find(enrollment.replacesSerial);
  return replaced !== undefined && replaced.state !== 'revoked';
}

/** A right that never ends is none for a device that was revoked since; a person's word is one until it is taken back. */
async function isApprovalStanding(tables: Tables, enrollment: Enrollment, device: Device): Promise<boolean> {
  const { requestId, ticketId } = enrollment;
  if (requestId !== null && (await tables.enrollmentRequests.find(requestId))?.state !== 'used') return false;
  if (requestId === null && ticketId === null && device.state === 'revoked') return false;
  return isGroundStanding(tables, enrollment);
}

/** The signature exists, so it goes on the record and on the CRL; nobody ever sees the certificate. */
async function takeBack(
  tables: Tables,
  enrollment: Enrollment,
  record: CertificateRecord,
  now: number,
): Promise<CertificateRecord> {
  await tables.certificates.insert({ ...record, lapseAt: null });
  await markRevoked(tables, record, { reason: 'cessationOfOperation', now, requestedBy: 'gateway' });
  await tables.enrollments.update(enrollment.id, { state: 'abandoned', updatedAt: now });
  await tables.audit.append(
    auditEntry({
      at: now,
      actor: 'gateway',
      action: 'certificate.revoked',
      subject: enrollment.deviceId,
      attemptId: enrollment.id,
      detail: `serial ${record.serial}: its device or key was revoked before it was handed out`,
    }),
  );
  return { ...record, state: 'revoked' };
}

function recordOf(der: Buffer, enrollment: Enrollment, now: number, lapseSeconds: number): CertificateRecord {
  const certificate = parseCertificate(der);
  const proofLevel = proofLevelOf(enrollment);
  if (
    certificate.serial !== enrollment.serial ||
    spkiSha256(certificate.publicKey) !== enrollment.spkiSha256 ||
    readProofLevel(certificate) !== proofLevel
  ) {
    throw new GatewayError('INTERNAL', 'the authority answered with another certificate than was ordered');
  }
  return {
    serial: certificate.serial as SerialNumber,
    issuerKeyId: certificate.authorityKeyId ?? '',
    deviceId: enrollment.deviceId,
    profile: 'device',
    spkiSha256: enrollment.spkiSha256,
    sha256: certificate.sha256,
    state: 'pending',
    proofLevel,
    notBefore: certificate.notBefore,
    notAfter: certificate.notAfter,
    issuedAt: now,
    activatedAt: null,
    supersedeAt: null,
    lapseAt: now + lapseSeconds * 1000,
    revokedAt: null,
    revocationReason: null,
    enrollmentId: enrollment.id,
    lineageId: null,
    renewFrom: null,
    renewUntil: null,
    der: certificate.der,
  };
}
