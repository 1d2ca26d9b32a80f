import { readCommonNames } from '#ca/pkix/common-names.ts';
import { parseCsr } from '#ca/pkix/csr.ts';
import { isPrintable, readDer } from '#ca/pkix/der.ts';
import { readText } from '#ca/pkix/der-values.ts';
import { parseName } from '#ca/pkix/name.ts';
import { OID } from '#ca/pkix/oids.ts';
import { type DeviceId, isDeviceId } from '#gateway/contract/device-id.ts';
import { type Device, isBarred, newDevice } from '#gateway/domain/device.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import type { Group } from '#gateway/domain/group.ts';
import type { Registrar } from '#gateway/domain/registrar.ts';
import type { Ticket } from '#gateway/domain/ticket.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { Store } from '#gateway/ports/store.ts';
import { findDevice, findTicket, requireOpen } from './authorize-ticket.ts';
import { type Applicant, isHeldOpen } from './enrollment-grounds.ts';
import { requireNoLookAlike } from './find-look-alike.ts';
import { identifyRequester } from './identify-requester.ts';
import { requireOwnLabel, unknownLabel } from './require-label.ts';

export type AuthorizeDeps = { store: Pick<Store, 'read' | 'write'>; clock: Clock };

/** As they were shown; whose they are and what they allow is judged here. */
export type EnrollmentCredentials =
  /** An empty deviceId means the device the ticket is for (RFC 7030 3.2.3: an empty user name is legal). */
  | { by: 'ticket'; deviceId: string; ticket: string }
  /**
   * DER of the certificate whose key the TLS session proved, and what the client sent along. `deviceId`: whose session it
   * is, where that was said before.
   */
  | { by: 'certificate'; peer: Buffer; chain: readonly Buffer[]; deviceId?: DeviceId };

export type Application = {
  credentials: EnrollmentCredentials;
  /** The group asked for. */
  label?: string;
  /** For a registrar, who enrolls somebody else: that one is named there. Left out: a registrar cannot ask this. */
  csr?: Buffer;
};

/**
 * Who is to get a certificate, by what right, and in which group.
 * @throws GatewayError with the code of what is wrong with credentials, device or label
 */
export async function authorizeEnrollment(deps: AuthorizeDeps, application: Application): Promise<Applicant> {
  const { credentials, label } = application;
  if (credentials.by === 'ticket') {
    const ticket = await findTicket(deps.store, credentials);
    await requireOpenOrHeld(deps, ticket);
    const { device, group } = await findDevice(deps.store, ticket.deviceId);
    await requireOwnLabel(deps.store.read, device, label);
    return { device, isRegistered: true, group, grounds: { by: 'ticket', ticket } };
  }
  const requester = await identifyRequester(deps, {
    der: credentials.peer,
    chain: credentials.chain,
    ...(label !== undefined && { label }),
    ...(credentials.deviceId !== undefined && { deviceId: credentials.deviceId }),
  });
  switch (requester.kind) {
    case 'device':
      throw new GatewayError(
        'REQUEST_INVALID',
        'this certificate is of a device that is enrolled: it renews (simplereenroll), it does not enroll anew',
        { subject: { deviceId: requester.identity.deviceId } },
      );
    case 'claim': {
      const { device, group, ticket, certificate } = requester;
      await requireOwnLabel(deps.store.read, device, label);
      return { device, isRegistered: true, group, grounds: { by: 'claim', ticket, serial: certificate.serial } };
    }
    case 'manufacturer': {
      const { deviceId, group, ca, makers, serialNumber } = requester;
      const device =
        requester.device ?? strangerDevice({ deviceId, group, hardwareSerial: serialNumber }, deps.clock.now());
      const grounds = { by: 'manufacturer', ca, makers } as const;
      return { device, isRegistered: requester.device !== undefined, group, grounds };
    }
    case 'registrar':
      return authorizeRegistrar(deps, requester.registrar, application);
  }
}

/** Held: it has expired while a request under it waits for a person. Of this very key, see requireGrounds. */
async function requireOpenOrHeld({ store, clock }: AuthorizeDeps, ticket: Ticket): Promise<void> {
  const now = clock.now();
  if (now >= ticket.expiresAt) {
    const requests = await store.read.enrollmentRequests.listOpenByDevice(ticket.deviceId);
    if (await isHeldOpen(store.read, ticket, requests, now)) return;
  }
  requireOpen(ticket, now);
}

/** RFC 7030 3.7: the registrar vouches for the device it names; which groups it may do that in is in its record. */
async function authorizeRegistrar(
  deps: AuthorizeDeps,
  registrar: Registrar,
  { csr, label }: Application,
): Promise<Applicant> {
  if (csr === undefined) {
    throw new GatewayError('REGISTRAR_NOT_ALLOWED', 'a registrar cannot prove where the key of a device lives');
  }
  const { deviceId, serials } = readNamedDevice(csr);
  const { read } = deps.store;
  const device = await read.devices.find(deviceId);
  if (device !== undefined) await requireOwnLabel(read, device, label);
  const name = device?.group ?? label ?? onlyGroupOf(registrar);
  if (!registrar.groups.includes(name)) {
    throw new GatewayError('REGISTRAR_NOT_ALLOWED', `the registrar "${registrar.name}" may not enroll in "${name}"`, {
      subject: device === undefined ? {} : { deviceId },
    });
  }
  const group = await read.groups.find(name);
  if (group === undefined) throw unknownLabel(name);
  const grounds = { by: 'registrar', registrar } as const;
  if (device === undefined) {
    const hardwareSerial = requireHardwareSerial(serials);
    const unknown = strangerDevice({ deviceId, group, hardwareSerial }, deps.clock.now());
    await requireNoLookAlike(read, unknown);
    return { device: unknown, isRegistered: false, group, grounds };
  }
  if (isBarred(device)) {
    throw new GatewayError('DEVICE_NOT_ALLOWED', `this device is ${device.state}`, { subject: { deviceId } });
  }
  return { device, isRegistered: true, group, grounds };
}

function onlyGroupOf({ groups, name }: Registrar): string {
  const [only, another] = groups;
  if (only !== undefined && another === undefined) return only;
  throw new GatewayError('GROUP_AMBIGUOUS', `the registrar "${name}" enrolls in several groups: name one by its label`);
}

function readNamedDevice(csr: Buffer) {
  let names: string[];
  let serials: (string | undefined)[];
  try {
    const { subject } = parseCsr(csr);
    names = readCommonNames(subject);
    serials = parseName(readDer(subject), 'the subject')
      .flat()
      .filter(({ type }) => type === OID.serialNumber)
      .map(({ value }) => readText(value, 'serialNumber'));
  } catch (cause) {
    throw new GatewayError('CSR_MALFORMED', 'this is not a PKCS#10 request in DER', { cause });
  }
  const [deviceId, more] = names;
  if (deviceId === undefined || more !== undefined || !isDeviceId(deviceId)) {
    throw new GatewayError('REQUEST_INVALID', 'a registrar names the device in the subject of the CSR: CN=<device id>');
  }
  return { deviceId, serials };
}

/** The device wrote it and the registrar passed it on: it is shown to people and certified, so it is held to the same as one that is registered. */
function requireHardwareSerial(serials: readonly (string | undefined)[]): string | null {
  if (serials.length === 0) return null;
  const [serial] = serials;
  if (serials.length === 1 && serial !== undefined && /^.{1,64}$/.test(serial) && isPrintable(serial)) return serial;
  throw new GatewayError(
    'REQUEST_INVALID',
    'the serialNumber in the subject of the CSR is not one of 1 to 64 letters, digits or plain punctuation',
  );
}

function strangerDevice(
  { deviceId, group, hardwareSerial }: Pick<Device, 'deviceId' | 'hardwareSerial'> & { group: Group },
  now: number,
): Device {
  return newDevice({ deviceId, group: group.name, hardwareSerial, owner: group.policy.owner }, now);
}
