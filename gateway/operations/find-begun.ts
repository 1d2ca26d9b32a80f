import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { CertificateRecord } from '#gateway/domain/certificate-record.ts';
import { meetsProof } from '#gateway/domain/device.ts';
import type { Enrollment } from '#gateway/domain/enrollment.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import type { Ticket } from '#gateway/domain/ticket.ts';
import type { Tables } from '#gateway/ports/store.ts';
import { isCompromised } from './is-compromised.ts';
import { proofLevelOf } from './issue-recorded.ts';
import { isInUse } from './judge-enrollment.ts';
import type { KeyProof } from './verify-attestation.ts';

type Read = Pick<Tables, 'enrollments' | 'certificates'>;

/**
 * A first enrollment of this device and key whose certificate was not used yet: its answer may have been lost. Under a
 * ticket it is the one the ticket is bound to; by other rights the newest of them.
 * @param proof what is proved now: what was begun with less is left to lapse
 * @returns the certificate, too, when there is one already
 */
export async function findBegun(
  read: Read,
  {
    deviceId,
    ticket,
    spkiSha256,
    proof,
  }: { deviceId: DeviceId; ticket: Ticket | undefined; spkiSha256: string; proof: KeyProof },
): Promise<{ enrollment: Enrollment; certificate: CertificateRecord | undefined } | undefined> {
  if (ticket !== undefined && ticket.boundSpkiSha256 !== spkiSha256) return undefined;
  for (const enrollment of await read.enrollments.listByKey(deviceId, spkiSha256)) {
    const { kind, state, ticketId, serial, serverKeyFor } = enrollment;
    if (kind !== 'enroll' || serverKeyFor !== null || (state !== 'approved' && state !== 'issued')) continue;
    if (ticketId !== (ticket?.id ?? null) || (ticket !== undefined && serial !== ticket.boundSerial)) continue;
    if (!meetsProof(proofLevelOf(enrollment), proof.level)) continue;
    const certificate = await read.certificates.find(serial);
    // A lapsed or revoked one is not given again: the way is free for a new certificate.
    if (certificate === undefined || certificate.state === 'pending') return { enrollment, certificate };
  }
  return undefined;
}

/**
 * The certificate in use for this very key: a device that has lost it, and still has the key, needs no other.
 */
export async function findKeyInUse(
  read: Read,
  { deviceId, csr, proof, now }: { deviceId: DeviceId; csr: { spkiSha256: string }; proof: KeyProof; now: number },
): Promise<CertificateRecord | undefined> {
  return (await read.certificates.listStanding(deviceId)).find(
    (certificate) =>
      certificate.spkiSha256 === csr.spkiSha256 &&
      isInUse(certificate, now) &&
      certificate.supersedeAt === null &&
      meetsProof(certificate.proofLevel ?? 'software', proof.level),
  );
}

/** @throws GatewayError KEY_NOT_ALLOWED for a key that was revoked as compromised, whoever had it */
export async function requireUncompromised(
  read: Pick<Tables, 'certificates'>,
  { deviceId, spkiSha256 }: { deviceId?: DeviceId; spkiSha256: string },
): Promise<void> {
  if (!(await isCompromised(read, spkiSha256))) return;
  throw new GatewayError('KEY_NOT_ALLOWED', 'this key was revoked as compromised; make a new one', {
    subject: deviceId === undefined ? {} : { deviceId },
  });
}

/**
 * A ticket is for one key, as long as that one may still be used.
 * @param isMadeHere a key pair made here takes the place of the one of the CSR, of which nothing is proved then: who
 *   knows the public key of a device does not get what that key was given
 * @throws GatewayError TICKET_SPENT
 */
export async function requireFreeTicket(
  read: Read,
  ticket: Ticket,
  { spkiSha256, isMadeHere }: { spkiSha256: string; isMadeHere: boolean },
): Promise<void> {
  const { boundSerial, boundSpkiSha256, deviceId } = ticket;
  if (boundSerial === null) return;
  if (boundSpkiSha256 === spkiSha256) {
    const ofThisKey = await read.enrollments.listByKey(deviceId, spkiSha256);
    const isCertified = ofThisKey.some(({ serial }) => serial === boundSerial);
    if (isCertified !== isMadeHere) return;
  }
  // It still stands for its key when it is on its way, pending or in use; a lapsed or revoked one does not.
  const certificate = await read.certificates.find(boundSerial);
  if (certificate?.state === 'revoked') return;
  throw new GatewayError(
    'TICKET_SPENT',
    'a certificate for another key was issued under this ticket; use that key, or ask an operator for a new ticket',
    { subject: { deviceId } },
  );
}
