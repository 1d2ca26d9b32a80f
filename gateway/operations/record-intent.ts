import { auditEntry } from '#gateway/domain/audit-entry.ts';
import type { Device } from '#gateway/domain/device.ts';
import type { Enrollment } from '#gateway/domain/enrollment.ts';
import type { Randomness } from '#gateway/ports/randomness.ts';
import type { Tables } from '#gateway/ports/store.ts';
import { formatOrder } from './issue-recorded.ts';
import type { AcceptedCsr } from './read-csr.ts';
import type { KeyProof } from './verify-attestation.ts';

export type Intent = {
  attemptId: string;
  address: string;
  /** As it goes into the audit. */
  actor: string;
  device: Device;
  csr: AcceptedCsr;
  proof: KeyProof;
  lifetimeSeconds: number;
  now: number;
} & ({ kind: 'enroll'; ticketId: string } | { kind: 'reenroll'; replacesSerial: string });

/**
 * What is about to be certified, with its serial, on the record before the authority is asked: so that whatever
 * happens in between, the certificate can be found again. Inside the caller's transaction.
 */
export async function recordIntent(tables: Tables, random: Randomness, intent: Intent): Promise<Enrollment> {
  const { device, csr, proof, kind, address, now } = intent;
  const { deviceId, hardwareSerial } = device;
  const serial = random.serialNumber();
  const enrollment: Enrollment = {
    // The client may name its attempt; a name used before is not used for another enrollment.
    id: (await tables.enrollments.find(intent.attemptId)) === undefined ? intent.attemptId : random.id('a'),
    deviceId,
    kind,
    door: 'est',
    address,
    keyKind: csr.keyKind,
    spkiSha256: csr.spkiSha256,
    ticketId: kind === 'enroll' ? intent.ticketId : null,
    replacesSerial: kind === 'reenroll' ? intent.replacesSerial : null,
    serial,
    evidenceSha256: proof.evidenceSha256,
    order: formatOrder({
      profile: 'device',
      serial,
      publicKey: csr.request.publicKey,
      lifetimeSeconds: intent.lifetimeSeconds,
      deviceId,
      ...(hardwareSerial === null ? {} : { hardwareSerial }),
      ...(proof.level === 'software' ? {} : { proofLevel: proof.level }),
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
      detail: `${kind === 'reenroll' ? `renewal of ${intent.replacesSerial}, ` : ''}${csr.keyKind} key from ${address}, proof ${describeProof(proof)}`,
    }),
  );
  return enrollment;
}

function describeProof(proof: KeyProof): string {
  return proof.ekSha256 === null ? proof.level : `${proof.level} (EK ${proof.ekSha256})`;
}
