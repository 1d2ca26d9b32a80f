import type { DeviceId } from '#gateway/contract/device-id.ts';
import { isDeviceId } from '#gateway/contract/device-id.ts';
import { type Device, isBarred } from '#gateway/domain/device.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import type { Group } from '#gateway/domain/group.ts';
import { hashTicket, isTicketSecret, type Ticket, ticketState } from '#gateway/domain/ticket.ts';
import type { Store } from '#gateway/ports/store.ts';

export type TicketCredentials = {
  /** As sent; empty means the device the ticket is for (RFC 7030 3.2.3: an empty user name is legal). */
  deviceId: string;
  ticket: string;
};

/** @throws GatewayError TICKET_UNKNOWN, TICKET_OF_ANOTHER_DEVICE */
export async function findTicket(store: Pick<Store, 'read'>, request: TicketCredentials): Promise<Ticket> {
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

/** @throws GatewayError TICKET_SPENT, TICKET_EXPIRED, TICKET_REVOKED */
export function requireOpen(ticket: Ticket, now: number): void {
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

/** The device and its group, as far as it may enroll. @throws GatewayError DEVICE_UNKNOWN, DEVICE_NOT_ALLOWED */
export async function findDevice(
  store: Pick<Store, 'read'>,
  deviceId: DeviceId,
): Promise<{ device: Device; group: Group }> {
  const device = await store.read.devices.find(deviceId);
  if (device === undefined) throw new GatewayError('DEVICE_UNKNOWN', 'this device is not registered');
  if (isBarred(device)) {
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
