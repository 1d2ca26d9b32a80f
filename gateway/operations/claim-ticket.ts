import { formatPem } from '#ca/pkix/pem.ts';
import type { CertificateAuthority } from '#ca/ports/certificate-authority.ts';
import { type IssuanceOrder, isSerialNumber, type SerialNumber } from '#ca/ports/issuance-order.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import { KEY_KINDS, type TicketClaimed } from '#gateway/contract/operator-api.ts';
import { auditEntry } from '#gateway/domain/audit-entry.ts';
import type { CertificateRecord } from '#gateway/domain/certificate-record.ts';
import { isBarred } from '#gateway/domain/device.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import { type Ticket, ticketState } from '#gateway/domain/ticket.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { Randomness } from '#gateway/ports/randomness.ts';
import type { Store, Tables } from '#gateway/ports/store.ts';
import { activeRecord } from './active-record.ts';
import { askAuthority } from './ask-authority.ts';
import { requireOpen } from './authorize-ticket.ts';
import { endClaim } from './end-claim.ts';
import { requireUncompromised } from './find-begun.ts';
import { isCompromised } from './is-compromised.ts';
import { markRevoked } from './mark-revoked.ts';
import { type AcceptedCsr, readCsr } from './read-csr.ts';
import { type ShutOutDeps, shutOut } from './shut-out.ts';

export type ClaimDeps = ShutOutDeps & {
  store: Store;
  clock: Clock;
  random: Randomness;
  authority: CertificateAuthority;
  /** Where devices reach the two doors. */
  doors: { est: { host: string; port: number }; mqtt: { host: string; port: number } };
};

/** The profile's own bounds, seconds. */
const MOST_SECONDS = 3600;
const LEAST_SECONDS = 10;

/**
 * Turns the open ticket of a device into a certificate of at most an hour that opens the enrolment topics, for a device
 * that reaches the MQTT door only. It belongs to the ticket and ends with it; a ticket has one at a time: another key
 * takes the place of the one before, the same key gets the same certificate while it is good.
 * @param order.csr PKCS#10, DER @param order.seconds at most 3600, and never longer than the ticket
 * @throws GatewayError NOT_FOUND, TICKET_*, DEVICE_NOT_ALLOWED, CSR_*, KEY_NOT_ALLOWED, AUTHORITY_UNAVAILABLE
 */
export async function claimTicket(
  deps: ClaimDeps,
  order: { deviceId: DeviceId; csr: Buffer; seconds: number; actor: string },
): Promise<TicketClaimed> {
  const csr = readCsr(order.csr, { keys: [...KEY_KINDS] });
  const { trustDomain, rootCertificate, intermediateCertificate } = await askAuthority(deps.authority, (authority) =>
    authority.describe(),
  );
  const reserved = await reserve(deps, order, csr);
  await shutOut(deps, reserved.ended, 'claimed anew');
  const certificate = reserved.given ?? (await issue(deps, order, { ...reserved, csr }));
  return {
    deviceId: order.deviceId,
    ticketId: reserved.ticket.id,
    serial: certificate.serial,
    notAfter: certificate.notAfter,
    certificate: pem(certificate.der),
    chain: [pem(intermediateCertificate)],
    root: pem(rootCertificate),
    trustDomain,
    ...deps.doors,
  };
}

function pem(der: Buffer): string {
  return formatPem('CERTIFICATE', der);
}

type Reserved = {
  ticket: Ticket;
  serial: SerialNumber;
  given: CertificateRecord | undefined;
  ended: CertificateRecord[];
};

/** One transaction: the claim that is there already for this key; or its end, and a serial for the new one. */
async function reserve(
  deps: ClaimDeps,
  { deviceId, actor }: { deviceId: DeviceId; actor: string },
  csr: AcceptedCsr,
): Promise<Reserved> {
  const now = deps.clock.now();
  return deps.store.write(async (tables) => {
    const device = await tables.devices.find(deviceId);
    if (device === undefined) throw new GatewayError('NOT_FOUND', `no device "${deviceId}" is registered`);
    if (isBarred(device)) throw new GatewayError('DEVICE_NOT_ALLOWED', `"${deviceId}" is ${device.state}`);
    await requireUncompromised(tables, { deviceId, spkiSha256: csr.spkiSha256 });
    const ticket = await requireTicket(tables, deviceId, now);
    const before = isSerialNumber(ticket.claimSerial) ? await tables.certificates.find(ticket.claimSerial) : undefined;
    if (before?.state === 'active' && before.notAfter > now && before.spkiSha256 === csr.spkiSha256)
      return { ticket, serial: before.serial, given: before, ended: [] };
    const ended = await endClaim(tables, ticket, { now, actor, why: 'claimed anew' });
    // Reserved before the authority is asked: of two at once, the later one counts, and the other is taken back.
    const serial = deps.random.serialNumber();
    await tables.tickets.update(ticket.id, { claimSerial: serial });
    return { ticket, serial, given: undefined, ended };
  });
}

async function requireTicket(tables: Tables, deviceId: DeviceId, now: number): Promise<Ticket> {
  const tickets = await tables.tickets.listByDevice(deviceId);
  const open = tickets.find((ticket) => ['open', 'bound'].includes(ticketState(ticket, now)));
  if (open !== undefined) {
    if (open.expiresAt - now >= LEAST_SECONDS * 1000) return open;
    throw new GatewayError('TICKET_EXPIRED', `the ticket of "${deviceId}" is about to expire; make a new one`);
  }
  const [newest] = tickets;
  if (newest === undefined) throw new GatewayError('NOT_FOUND', `no ticket was ever made for "${deviceId}"`);
  requireOpen(newest, now);
  return newest;
}

async function issue(
  deps: ClaimDeps,
  { deviceId, seconds, actor }: { deviceId: DeviceId; seconds: number; actor: string },
  { ticket, serial, csr }: Reserved & { csr: AcceptedCsr },
): Promise<CertificateRecord> {
  const left = Math.floor((ticket.expiresAt - deps.clock.now()) / 1000);
  const order: IssuanceOrder = {
    profile: 'device-bootstrap',
    serial,
    publicKey: csr.request.publicKey,
    lifetimeSeconds: Math.max(LEAST_SECONDS, Math.min(seconds, left, MOST_SECONDS)),
    deviceId,
  };
  const der = await askAuthority(deps.authority, (authority) => authority.issue(order));
  const now = deps.clock.now();
  const record = activeRecord(der, order, { deviceId, now });
  const isGood = await deps.store.write(async (tables) => {
    const current = await tables.tickets.find(ticket.id);
    const isGoodKey = !(await isCompromised(tables, record.spkiSha256));
    await tables.certificates.insert(record);
    const state = current === undefined ? undefined : ticketState(current, now);
    const isWanted = isGoodKey && current?.claimSerial === serial && (state === 'open' || state === 'bound');
    // The signature exists, so it goes on the record, and on the CRL; nobody ever sees the certificate.
    if (!isWanted) await markRevoked(tables, record, { reason: 'cessationOfOperation', now, requestedBy: 'gateway' });
    await tables.audit.append(
      auditEntry({
        at: now,
        actor,
        action: isWanted ? 'ticket.claimed' : 'certificate.revoked',
        subject: deviceId,
        detail: `${ticket.id}, serial ${serial}${isWanted ? '' : ' of a claim: its ticket ended before it was handed out'}`,
      }),
    );
    return isWanted;
  });
  if (isGood) return record;
  throw new GatewayError('STATE_CONFLICT', 'the ticket was claimed anew, spent or revoked in the same moment');
}
