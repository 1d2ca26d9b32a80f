import type { CertificateAuthority } from '#ca/ports/certificate-authority.ts';
import { type Device, meetsProof } from '#gateway/domain/device.ts';
import type { Enrollment } from '#gateway/domain/enrollment.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import type { Group } from '#gateway/domain/group.ts';
import type { Ticket } from '#gateway/domain/ticket.ts';
import type { Randomness } from '#gateway/ports/randomness.ts';
import type { Store, Tables } from '#gateway/ports/store.ts';
import { acceptProof } from './accept-proof.ts';
import { findDevice, findTicket, requireOpen } from './authorize-ticket.ts';
import { issueRecorded, proofLevelOf } from './issue-recorded.ts';
import { type AcceptedCsr, readCsr, requireOwnName } from './read-csr.ts';
import { type AttemptDeps, type AttemptFacts, issuedOrAgain, recordAttempt } from './record-attempt.ts';
import { recordIntent } from './record-intent.ts';
import { type KeyProof, proveKey } from './verify-attestation.ts';

export type EnrollDeps = AttemptDeps & {
  store: Store;
  authority: CertificateAuthority;
  random: Randomness;
  trustDomain: string;
};

export type EnrollRequest = {
  attemptId: string;
  address: string;
  /** As sent; empty means the device the ticket is for (RFC 7030 3.2.3: an empty user name is legal). */
  deviceId: string;
  ticket: string;
  /** PKCS#10, DER; with the attestation attribute when the key is in a TPM. */
  csr: Buffer;
  /** The unused nonce of this TLS session, if it asked for one. */
  nonce?: Buffer;
};

export type Enrolled = { certificate: Buffer; givenAgain: boolean };

/**
 * First enrollment with a one-time ticket. The same key asked again under the same ticket gets the same certificate
 * until that certificate has been used; any other key finds the ticket spent.
 * @throws GatewayError with the code of the step that refused
 */
export async function enrollDevice(deps: EnrollDeps, request: EnrollRequest): Promise<Enrolled> {
  const facts: AttemptFacts = {
    attemptId: request.attemptId,
    address: request.address,
    kind: 'enroll',
    deviceId: undefined,
  };
  const enrolled = async (): Promise<Enrolled> => {
    const ticket = await findTicket(deps.store, request);
    facts.deviceId = ticket.deviceId;
    requireOpen(ticket, deps.clock.now());
    const { device, group } = await findDevice(deps.store, ticket.deviceId);
    const csr = readCsr(request.csr, group.policy);
    requireOwnName(csr.request, device.deviceId, deps.trustDomain);
    const proof = await proveKey(deps, {
      device,
      group: { name: group.name, proof: group.policy.proof },
      csr,
      askedBy: `ticket:${ticket.id}`,
      nonce: request.nonce,
    });

    const { enrollment, again } = await bindTicket(deps, request, { ticket, device, group, csr, proof });
    if (again !== undefined) return { certificate: again, givenAgain: true };
    const certificate = await issueRecorded(deps, enrollment, group.policy.pendingLapseSeconds);
    return { certificate: certificate.der, givenAgain: false };
  };
  return recordAttempt(deps, facts, enrolled, issuedOrAgain);
}

type Grounds = { ticket: Ticket; device: Device; group: Group; csr: AcceptedCsr; proof: KeyProof };

/**
 * One transaction: the ticket is bound to this key, the serial is reserved and the intent recorded; or the key is the
 * one it was bound to already, and what was begun for it is found again.
 */
async function bindTicket(
  deps: EnrollDeps,
  request: EnrollRequest,
  { ticket, device, group, csr, proof }: Grounds,
): Promise<{ enrollment: Enrollment; again: Buffer | undefined }> {
  const now = deps.clock.now();
  return deps.store.write(async (tables) => {
    const current = await tables.tickets.find(ticket.id);
    if (current === undefined) throw new GatewayError('TICKET_UNKNOWN', 'this ticket is not known here');
    // Read again inside: two requests with different keys may have come at once.
    requireOpen(current, now);
    if (current.boundSpkiSha256 === csr.spkiSha256) {
      const begun = await findBegun(tables, current, csr.spkiSha256);
      // What was begun with less than is proved now is left to lapse.
      if (begun !== undefined && meetsProof(proofLevelOf(begun.enrollment), proof.level)) {
        await acceptProof(tables, { proof, begun: begun.enrollment, device, now });
        return begun;
      }
    } else if (current.boundSerial !== null && (await isHeld(tables, current.boundSerial))) {
      throw new GatewayError(
        'TICKET_SPENT',
        'a certificate for another key was issued under this ticket; use that key, or ask an operator for a new ticket',
        { subject: { deviceId: device.deviceId } },
      );
    }
    await acceptProof(tables, { proof, begun: undefined, device, now });
    const enrollment = await recordIntent(tables, deps.random, {
      kind: 'enroll',
      attemptId: request.attemptId,
      address: request.address,
      actor: `ticket:${ticket.id}`,
      device,
      csr,
      proof,
      ticketId: ticket.id,
      lifetimeSeconds: group.policy.lifetimeSeconds,
      now,
    });
    await tables.tickets.update(ticket.id, { boundSpkiSha256: csr.spkiSha256, boundSerial: enrollment.serial });
    return { enrollment, again: undefined };
  });
}

async function findBegun(
  tables: Tables,
  ticket: Ticket,
  spkiSha256: string,
): Promise<{ enrollment: Enrollment; again: Buffer | undefined } | undefined> {
  const enrollment = (await tables.enrollments.listByKey(ticket.deviceId, spkiSha256)).find(
    (candidate) => candidate.ticketId === ticket.id && candidate.serial === ticket.boundSerial,
  );
  if (enrollment === undefined || enrollment.state === 'abandoned') return undefined;
  const certificate = await tables.certificates.find(enrollment.serial);
  if (certificate === undefined) return { enrollment, again: undefined };
  // A lapsed or revoked one is not given again: the ticket is free for a new certificate.
  return certificate.state === 'pending' ? { enrollment, again: certificate.der } : undefined;
}

/** A serial still stands for a key when it is on its way, pending or in use; a lapsed or revoked one does not. */
async function isHeld(tables: Tables, serial: string): Promise<boolean> {
  const certificate = await tables.certificates.find(serial);
  return certificate === undefined || certificate.state !== 'revoked';
}
