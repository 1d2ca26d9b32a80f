import { type CertificateRecord, judgeStanding } from '#gateway/domain/certificate-record.ts';
import type { Device } from '#gateway/domain/device.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import type { Group } from '#gateway/domain/group.ts';
import type { Registrar } from '#gateway/domain/registrar.ts';
import type { Ticket } from '#gateway/domain/ticket.ts';
import { findDevice, requireOpen } from './authorize-ticket.ts';
import {
  identifyManufacturer,
  type Manufactured,
  type RecognisedDevice,
  recogniseDevice,
} from './identify-manufacturer.ts';
import {
  findOwnCertificate,
  type IdentifyDeps,
  type IdentifyOptions,
  identifyPeer,
  type PeerIdentity,
  refuseCertificate,
} from './identify-peer.ts';

/** Whom a TLS client certificate stands for. */
export type Requester =
  | { kind: 'device'; identity: PeerIdentity }
  | { kind: 'claim'; ticket: Ticket; device: Device; group: Group; certificate: CertificateRecord }
  | ({ kind: 'manufacturer' } & Manufactured)
  | { kind: 'registrar'; registrar: Registrar; certificate: CertificateRecord };

export type ShownCertificate = {
  /** As TLS showed it, DER. */
  der: Buffer;
  /** What the client sent along, DER, in any order. */
  chain: readonly Buffer[];
  /** The group asked for. */
  label?: string;
  /** Who it says it is; between devices of a maker that have the same serial number. */
  deviceId?: string;
};

/**
 * Who asks. One of our own certificates is judged by its row; any other one is its maker's, if a group trusts that
 * maker, or nobody's. The caller has seen TLS prove possession of the key.
 * @throws GatewayError CERTIFICATE_*, PROFILE_NOT_A_DEVICE, MANUFACTURER_*, TICKET_*, DEVICE_*, GROUP_AMBIGUOUS, LABEL_*
 */
export async function identifyRequester(deps: IdentifyDeps, shown: ShownCertificate): Promise<Requester> {
  const own = await identifyOwn(deps, shown.der);
  if (own !== undefined) return own;
  return { kind: 'manufacturer', ...(await identifyManufacturer(deps.store.read, shown, deps.clock.now())) };
}

/**
 * The same for a session that asks later: which group a device of a maker wants it says then.
 * @param options for a device with its own certificate
 * @throws GatewayError as identifyRequester, but not GROUP_AMBIGUOUS because several groups trust the maker
 */
export async function identifyNewcomer(
  deps: IdentifyDeps,
  shown: Omit<ShownCertificate, 'label'>,
  options: IdentifyOptions,
): Promise<Exclude<Requester, { kind: 'manufacturer' }> | ({ kind: 'manufacturer' } & RecognisedDevice)> {
  const own = await identifyOwn(deps, shown.der, options);
  if (own !== undefined) return own;
  return { kind: 'manufacturer', ...(await recogniseDevice(deps.store.read, shown, deps.clock.now())) };
}

/** @returns undefined for a certificate that is none of ours */
async function identifyOwn(
  deps: IdentifyDeps,
  der: Buffer,
  options: IdentifyOptions = {},
): Promise<Exclude<Requester, { kind: 'manufacturer' }> | undefined> {
  const { certificate, serial, isCopied } = await findOwnCertificate(deps.store, der);
  const now = deps.clock.now();
  if (certificate === undefined) {
    // The serial number of one of ours on something else: nobody, whoever signed it.
    if (isCopied) {
      throw new GatewayError('CERTIFICATE_UNKNOWN', 'this certificate was not issued by this gateway', {
        subject: serial === undefined ? {} : { serial },
      });
    }
    return undefined;
  }
  switch (certificate.profile) {
    case 'device-bootstrap':
      return identifyClaim(deps, certificate, now);
    case 'registrar':
      return identifyRegistrar(deps, certificate, now);
    default:
      return { kind: 'device', identity: await identifyPeer(deps, der, options) };
  }
}

async function identifyClaim(
  deps: IdentifyDeps,
  certificate: CertificateRecord,
  now: number,
): Promise<Requester & { kind: 'claim' }> {
  const { deviceId, serial } = certificate;
  const tickets = deviceId === null ? [] : await deps.store.read.tickets.listByDevice(deviceId);
  const ticket = tickets.find(({ claimSerial }) => claimSerial === serial);
  // What became of its ticket says more than that the certificate ended with it.
  if (ticket !== undefined) requireOpen(ticket, now);
  const refusal = judgeStanding(certificate, now);
  if (refusal !== undefined) throw refuseCertificate(refusal, certificate);
  if (ticket === undefined) throw refuseCertificate('CERTIFICATE_REVOKED', certificate);
  return { kind: 'claim', ticket, certificate, ...(await findDevice(deps.store, ticket.deviceId)) };
}

async function identifyRegistrar(
  deps: IdentifyDeps,
  certificate: CertificateRecord,
  now: number,
): Promise<Requester & { kind: 'registrar' }> {
  const refusal = judgeStanding(certificate, now);
  if (refusal !== undefined) throw refuseCertificate(refusal, certificate);
  const registrar = await deps.store.read.registrars.findBySerial(certificate.serial);
  if (registrar === undefined) throw refuseCertificate('CERTIFICATE_REVOKED', certificate);
  return { kind: 'registrar', registrar, certificate };
}
