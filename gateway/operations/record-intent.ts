import { isPrintable } from '#ca/pkix/der.ts';
import { auditEntry } from '#gateway/domain/audit-entry.ts';
import type { Device } from '#gateway/domain/device.ts';
import type { Enrollment } from '#gateway/domain/enrollment.ts';
import type { Randomness } from '#gateway/ports/randomness.ts';
import type { Tables } from '#gateway/ports/store.ts';
import { formatOrder } from './issue-recorded.ts';
import type { AcceptedCsr } from './read-csr.ts';
import type { Arrival } from './record-attempt.ts';
import type { KeyProof } from './verify-attestation.ts';

export type Intent = {
  arrival: Arrival;
  /** As it goes into the audit. */
  actor: string;
  device: Device;
  csr: AcceptedCsr;
  proof: KeyProof;
  lifetimeSeconds: number;
  /** Of the group's policy: a certificate with a shorter life goes without CRL and OCSP. */
  noRevAvailBelowSeconds: number;
  now: number;
} & (
  | {
      kind: 'enroll';
      ticketId: string | null;
      grounds: string;
      /** The request that a person approved. */
      requestId: string | null;
      /** SHA-256 of the key in the CSR, when the key to be certified was made here instead. */
      serverKeyFor: string | null;
    }
  | {
      kind: 'reenroll';
      replacesSerial: string;
      /** What was replaced has expired: why it was granted all the same, and the request that a person approved. */
      lane?: { detail: string; requestId: string | null };
    }
);

/**
 * What is about to be certified, with its serial, on the record before the authority is asked: so that whatever
 * happens in between, the certificate can be found again. Inside the caller's transaction.
 */
export async function recordIntent(tables: Tables, random: Randomness, intent: Intent): Promise<Enrollment> {
  const { arrival, device, csr, proof, kind, now } = intent;
  const { attemptId, address, door } = arrival;
  const { deviceId, hardwareSerial, group } = device;
  const serial = random.serialNumber();
  const first = kind === 'enroll' ? intent : undefined;
  const enrollment: Enrollment = {
    // The client may name its attempt; a name used before is not used for another enrollment.
    id: (await tables.enrollments.find(attemptId)) === undefined ? attemptId : random.id('a'),
    deviceId,
    group,
    kind,
    door,
    address,
    keyKind: csr.keyKind,
    spkiSha256: csr.spkiSha256,
    ticketId: first?.ticketId ?? null,
    grounds: first?.grounds ?? null,
    requestId: requestIdOf(intent),
    serverKeyFor: first?.serverKeyFor ?? null,
    replacesSerial: kind === 'reenroll' ? intent.replacesSerial : null,
    serial,
    evidenceSha256: proof.evidenceSha256,
    order: formatOrder({
      profile: 'device',
      serial,
      publicKey: csr.request.publicKey,
      lifetimeSeconds: intent.lifetimeSeconds,
      deviceId,
      // Makers write serial numbers that a PrintableString cannot hold: then the certificate goes without.
      ...(hardwareSerial === null || !isPrintable(hardwareSerial) ? {} : { hardwareSerial }),
      ...(proof.level === 'software' ? {} : { proofLevel: proof.level }),
      ...(intent.lifetimeSeconds < intent.noRevAvailBelowSeconds ? { noRevAvail: true } : {}),
    }),
    state: 'approved',
    createdAt: now,
    updatedAt: now,
  };
  await tables.enrollments.insert(enrollment);
  await tables.audit.append(
    auditEntry({
      at: now,
      actor: intent.actor,
      action: 'enrollment.approved',
      subject: deviceId,
      attemptId: enrollment.id,
      detail: describe(intent),
    }),
  );
  return enrollment;
}

function describe(intent: Intent): string {
  const { csr, arrival, proof } = intent;
  const what = intent.kind === 'reenroll' ? `renewal of ${intent.replacesSerial}, ` : '';
  const where = intent.kind === 'enroll' && intent.serverKeyFor !== null ? ' made here' : '';
  const requestId = requestIdOf(intent);
  const approval = requestId === null ? '' : `, approved as ${requestId}`;
  const lane = intent.kind === 'reenroll' && intent.lane !== undefined ? `; ${intent.lane.detail}` : '';
  return `${what}${csr.keyKind} key${where} from ${arrival.address}, proof ${describeProof(proof)}${approval}${lane}`;
}

function requestIdOf(intent: Intent): string | null {
  return intent.kind === 'enroll' ? intent.requestId : (intent.lane?.requestId ?? null);
}

function describeProof(proof: KeyProof): string {
  return proof.ekSha256 === null ? proof.level : `${proof.level} (EK ${proof.ekSha256})`;
}
