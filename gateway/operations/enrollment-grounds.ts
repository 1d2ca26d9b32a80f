import type { SerialNumber } from '#ca/pkix/serial-number.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { Device } from '#gateway/domain/device.ts';
import type { EnrollmentRequest } from '#gateway/domain/enrollment-request.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import type { Group } from '#gateway/domain/group.ts';
import type { ManufacturerCa } from '#gateway/domain/manufacturer-ca.ts';
import type { Registrar } from '#gateway/domain/registrar.ts';
import { type Ticket, ticketState } from '#gateway/domain/ticket.ts';
import type { Tables } from '#gateway/ports/store.ts';
import { requireOpen } from './authorize-ticket.ts';

/** What a first enrollment rests on, its credentials verified. */
export type Grounds =
  | { by: 'ticket'; ticket: Ticket }
  | { by: 'claim'; ticket: Ticket; serial: SerialNumber }
  /** makers: see Manufactured */
  | { by: 'manufacturer'; ca: ManufacturerCa; makers: readonly string[] }
  | { by: 'registrar'; registrar: Registrar };

/** Who is to get a certificate. */
export type Applicant = {
  /** As registered; or, when it is not, as it would be. */
  device: Device;
  isRegistered: boolean;
  group: Group;
  grounds: Grounds;
};

/** As it stands in requests, enrollments and the audit. */
export function formatGrounds(grounds: Grounds): string {
  switch (grounds.by) {
    case 'ticket':
      return `ticket:${grounds.ticket.id}`;
    case 'claim':
      return `claim:${grounds.serial}`;
    case 'manufacturer':
      return `manufacturer:${grounds.ca.sha256}`;
    case 'registrar':
      return `registrar:${grounds.registrar.name}`;
  }
}

/**
 * The grounds as they stand now, inside the transaction that acts on them.
 * @param request of this device and key, if there is one: what a person has approved, or may still, outlives the ticket
 * @returns the ticket, read again @throws GatewayError TICKET_*, MANUFACTURER_UNTRUSTED, REGISTRAR_NOT_ALLOWED
 */
export async function requireGrounds(
  tables: Tables,
  { grounds, group }: Pick<Applicant, 'grounds' | 'group'>,
  { request, now }: { request: EnrollmentRequest | undefined; now: number },
): Promise<Ticket | undefined> {
  switch (grounds.by) {
    case 'ticket':
    case 'claim': {
      const ticket = await tables.tickets.find(grounds.ticket.id);
      if (ticket === undefined) throw new GatewayError('TICKET_UNKNOWN', 'this ticket is not known here');
      if (!(await isHeldOpen(tables, ticket, request === undefined ? [] : [request], now))) requireOpen(ticket, now);
      if (grounds.by === 'claim' && ticket.claimSerial !== grounds.serial)
        throw new GatewayError('CERTIFICATE_REVOKED', 'a newer claim took the place of this one');
      return ticket;
    }
    case 'manufacturer': {
      const trusted = await tables.manufacturerCas.list(group.name);
      if (trusted.some(({ sha256 }) => sha256 === grounds.ca.sha256)) return undefined;
      throw new GatewayError('MANUFACTURER_UNTRUSTED', 'the maker of this device was trusted until a moment ago');
    }
    case 'registrar': {
      const registrar = await tables.registrars.find(grounds.registrar.name);
      if (registrar?.serial === grounds.registrar.serial && registrar.groups.includes(group.name)) return undefined;
      throw new GatewayError('REGISTRAR_NOT_ALLOWED', 'this registrar was removed a moment ago');
    }
  }
}

/**
 * Whether a ticket that has expired still counts: it was good when its request began to wait for a person, or when that
 * person's approval was used for the certificate it is bound to.
 * @param requests of its device
 */
export async function isHeldOpen(
  read: Pick<Tables, 'enrollments'>,
  ticket: Ticket,
  requests: readonly EnrollmentRequest[],
  now: number,
): Promise<boolean> {
  if (ticketState(ticket, now) !== 'expired') return false;
  const isOpen = ({ state, expiresAt, grounds }: EnrollmentRequest) =>
    (state === 'waiting' || state === 'approved') && expiresAt > now && grounds === `ticket:${ticket.id}`;
  if (requests.some(isOpen)) return true;
  if (ticket.boundSpkiSha256 === null) return false;
  const begun = await read.enrollments.listByKey(ticket.deviceId, ticket.boundSpkiSha256);
  return begun.some(({ serial, requestId }) => serial === ticket.boundSerial && requestId !== null);
}

/** Whether what a recorded enrollment rests on was taken back since. */
export async function isGroundStanding(
  tables: Tables,
  {
    ticketId,
    grounds,
    deviceId,
    createdAt,
  }: { ticketId: string | null; grounds: string | null; deviceId: DeviceId; createdAt: number },
): Promise<boolean> {
  if (ticketId !== null) return (await tables.tickets.find(ticketId))?.revokedAt === null;
  const [by, name = ''] = grounds?.split(':') ?? [];
  const group = (await tables.devices.find(deviceId))?.group;
  if (by === 'registrar') {
    const registrar = await tables.registrars.find(name);
    // One that was removed does not come back to life with the next of its name.
    if (registrar === undefined || registrar.createdAt > createdAt) return false;
    return group !== undefined && registrar.groups.includes(group);
  }
  if (by !== 'manufacturer') return false;
  return (await tables.manufacturerCas.list(group)).some(({ sha256 }) => sha256 === name);
}
