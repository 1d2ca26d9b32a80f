import type { CertificateAuthority } from '#ca/ports/certificate-authority.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import { isDeviceId } from '#gateway/contract/device-id.ts';
import { type Device, meetsProof } from '#gateway/domain/device.ts';
import type { Enrollment } from '#gateway/domain/enrollment.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import type { Group } from '#gateway/domain/group.ts';
import { hashTicket, isTicketSecret, type Ticket, ticketState } from '#gateway/domain/ticket.ts';
import type { Randomness } from '#gateway/ports/randomness.ts';
import type { Store, Tables } from '#gateway/ports/store.ts';
import { issueRecorded, PROOF_OF_THIS_VERSION } from './issue-recorded.ts';
import { type AcceptedCsr, readCsr, requireOwnName } from './read-csr.ts';
import { type AttemptDeps, type AttemptFacts, recordAttempt } from './record-attempt.ts';
import { recordIntent } from './record-intent.ts';

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
  /** PKCS#10, DER. */
  csr: Buffer;
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
  return recordAttempt(deps, facts, async () => {
    const ticket = await findTicket(deps.store, request);
    facts.deviceId = ticket.deviceId;
    requireOpen(ticket, deps.clock.now());
    const { device, group } = await findDevice(deps.store, ticket.deviceId);
    const csr = readCsr(request.csr, group.policy);
    requireOwnName(csr.request, device.deviceId, deps.trustDomain);
    if (!meetsProof(PROOF_OF_THIS_VERSION, group.policy.proof)) {
      throw new GatewayError(
        'PROOF_TOO_LOW',
        `the group "${group.name}" requires proof level ${group.policy.proof}; a software key has none`,
      );
    }

    const { enrollment, again } = await bindTicket(deps, request, { ticket, device, group, csr });
    if (again !== undefined) return { certificate: again, givenAgain: true };
    const certificate = await issueRecorded(deps, enrollment, group.policy.pendingLapseSeconds);
    return { certificate: certificate.der, givenAgain: false };
  });
}

async function findTicket(store: Pick<Store, 'read'>, request: EnrollRequest): Promise<Ticket> {
  const secretSha256 = hashTicket(request.ticket);
  const ticket = await store.read.tickets.findBySecret(secretSha256);
  if (ticket === undefined || !isTicketSecret(ticket, secretSha256)) {
    // Said of the device it was tried for, so that the technician who mistyped it sees why nothing happens.
    const claimed = isDeviceId(request.deviceId) ? await store.read.devices.find(request.deviceId) : undefined;
    throw new GatewayError(
      'TICKET_UNKNOWN',
      'this ticket is not known here; check for a typing error or ask for a new one',
      { subject: claimed === undefined ? {} : { deviceId: claimed.deviceId } },
    );
  }
  if (request.deviceId !== '' && request.deviceId !== ticket.deviceId) {
    throw new GatewayError(
      'TICKET_OF_ANOTHER_DEVICE',
      'this ticket was made for another device; use the device id it was printed with',
      {
        subject: isDeviceId(request.deviceId) ? { deviceId: ticket.deviceId } : {},
      },
    );
  }
  return ticket;
}

function requireOpen(ticket: Ticket, now: number): void {
  const subject = { deviceId: ticket.deviceId };
  switch (ticketState(ticket, now)) {
    case 'open':
    case 'bound':
      return;
    case 'spent':
      throw new GatewayError(
        'TICKET_SPENT',
        'this ticket was used already; the device has its certificate, or an operator makes a new ticket',
        { subject },
      );
    case 'expired':
      throw new GatewayError('TICKET_EXPIRED', 'this ticket has expired; ask an operator for a new one', { subject });
    case 'revoked':
      throw new GatewayError('TICKET_REVOKED', 'this ticket was revoked; ask an operator for a new one', { subject });
  }
}

async function findDevice(store: Pick<Store, 'read'>, deviceId: DeviceId): Promise<{ device: Device; group: Group }> {
  const device = await store.read.devices.find(deviceId);
  if (device === undefined) throw new GatewayError('DEVICE_UNKNOWN', 'this device is not registered');
  if (device.state === 'retired' || device.state === 'quarantined') {
    throw new GatewayError('DEVICE_NOT_ALLOWED', `this device is ${device.state}`, { subject: { deviceId } });
  }
  const group = await store.read.groups.find(device.group);
  if (group === undefined) {
    throw new GatewayError('DEVICE_NOT_ALLOWED', `the group "${device.group}" does not exist`, {
      subject: { deviceId },
    });
  }
  return { device, group };
}

type Grounds = { ticket: Ticket; device: Device; group: Group; csr: AcceptedCsr };

/**
 * One transaction: the ticket is bound to this key, the serial is reserved and the intent recorded; or the key is the
 * one it was bound to already, and what was begun for it is found again.
 */
async function bindTicket(
  deps: EnrollDeps,
  request: EnrollRequest,
  { ticket, device, group, csr }: Grounds,
): Promise<{ enrollment: Enrollment; again: Buffer | undefined }> {
  const now = deps.clock.now();
  return deps.store.write(async (tables) => {
    const current = await tables.tickets.find(ticket.id);
    if (current === undefined) throw new GatewayError('TICKET_UNKNOWN', 'this ticket is not known here');
    // Read again inside: two requests with different keys may have come at once.
    requireOpen(current, now);
    if (current.boundSpkiSha256 === csr.spkiSha256) {
      const begun = await findBegun(tables, current, csr.spkiSha256);
      if (begun !== undefined) return begun;
    } else if (current.boundSerial !== null && (await isHeld(tables, current.boundSerial))) {
      throw new GatewayError(
        'TICKET_SPENT',
        'a certificate for another key was issued under this ticket; use that key, or ask an operator for a new ticket',
        { subject: { deviceId: device.deviceId } },
      );
    }
    const enrollment = await recordIntent(tables, deps.random, {
      kind: 'enroll',
      attemptId: request.attemptId,
      address: request.address,
      actor: `ticket:${ticket.id}`,
      device,
      csr,
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
