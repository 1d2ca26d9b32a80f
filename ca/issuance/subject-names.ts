import type { Der } from '#ca/pkix/der.ts';
import { implicit, isPrintable, sequence } from '#ca/pkix/der.ts';
import { parseIpAddress } from '#ca/pkix/ip-address.ts';
import { formatName } from '#ca/pkix/name.ts';
import type { CertifiedProofLevel } from '#ca/pkix/proof-level.ts';
import { IssuanceError } from './issuance-error.ts';

/** Who is to be certified. */
export type Subject =
  | {
      profile: 'device';
      deviceId: string;
      hardwareSerial?: string;
      proofLevel?: CertifiedProofLevel;
      noRevAvail?: boolean;
    }
  | { profile: 'device-bootstrap'; deviceId: string }
  | { profile: 'registrar'; name: string }
  | { profile: 'gateway-server'; dnsNames: string[]; ipAddresses: string[] }
  | { profile: 'notice-signer' }
  | { profile: 'ocsp-responder' };

export type SubjectNames = {
  /** Name, DER. */
  name: Der;
  /** Value of the extension, DER. */
  subjectAltName?: Der;
};

/** SPIFFE path characters; the same rule as the gateway's device id, checked again here because nobody is believed. */
const SPIFFE_SEGMENT = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;
const DNS_NAME = /^(?=.{1,253}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
const MAX_SERVER_NAMES = 32;

export const GATEWAY_COMMON_NAME = 'Gatehouse gateway';
export const NOTICE_SIGNER_COMMON_NAME = 'Gatehouse notice signer';
export const OCSP_RESPONDER_COMMON_NAME = 'Gatehouse OCSP responder';

/** Also a valid X.509-SVID's name. */
export function formatDeviceUri(trustDomain: string, deviceId: string): string {
  return `spiffe://${trustDomain}/device/${deviceId}`;
}

/** Another path than a device's own identity, so that a claim is never taken for it. */
function formatClaimUri(trustDomain: string, deviceId: string): string {
  return `spiffe://${trustDomain}/claim/${deviceId}`;
}

function formatRegistrarUri(trustDomain: string, name: string): string {
  return `spiffe://${trustDomain}/registrar/${name}`;
}

/** SPIFFE-ID 2.1: lower case letters, digits, dot, dash, underscore. */
export function isTrustDomain(text: string): boolean {
  return /^[a-z0-9](?:[a-z0-9._-]{0,253}[a-z0-9])?$/.test(text);
}

/**
 * The names a certificate will carry. They come from the order alone, never from a CSR.
 * @throws IssuanceError ORDER_MALFORMED
 */
export function formatSubjectNames(subject: Subject, trustDomain: string): SubjectNames {
  switch (subject.profile) {
    case 'device':
      return deviceNames(subject.deviceId, subject.hardwareSerial, trustDomain);
    case 'device-bootstrap':
      requireName(subject.deviceId, 'the device id');
      return {
        name: formatName({ commonName: subject.deviceId }),
        ...uriName(formatClaimUri(trustDomain, subject.deviceId)),
      };
    case 'registrar':
      requireName(subject.name, 'the name of the registrar');
      return {
        name: formatName({ commonName: subject.name }),
        ...uriName(formatRegistrarUri(trustDomain, subject.name)),
      };
    case 'gateway-server':
      return serverNames(subject.dnsNames, subject.ipAddresses);
    case 'notice-signer':
      return { name: formatName({ commonName: NOTICE_SIGNER_COMMON_NAME }) };
    case 'ocsp-responder':
      return { name: formatName({ commonName: OCSP_RESPONDER_COMMON_NAME }) };
  }
}

function deviceNames(deviceId: string, hardwareSerial: string | undefined, trustDomain: string): SubjectNames {
  requireName(deviceId, 'the device id');
  if (hardwareSerial !== undefined && (!/^.{1,64}$/.test(hardwareSerial) || !isPrintable(hardwareSerial))) {
    throw new IssuanceError(
      'ORDER_MALFORMED',
      "the hardware serial is not 1 to 64 of A-Z a-z 0-9 space ' ( ) + , - . / : = ?",
    );
  }
  return {
    name: formatName({ commonName: deviceId, ...(hardwareSerial !== undefined && { serialNumber: hardwareSerial }) }),
    ...uriName(formatDeviceUri(trustDomain, deviceId)),
  };
}

function requireName(text: string, what: string): void {
  if (!SPIFFE_SEGMENT.test(text)) throw new IssuanceError('ORDER_MALFORMED', `${what} is not one`);
}

function uriName(uri: string): { subjectAltName: Der } {
  return { subjectAltName: sequence(implicit(6, Buffer.from(uri, 'latin1'))) };
}

function serverNames(dnsNames: string[], ipAddresses: string[]): SubjectNames {
  const count = dnsNames.length + ipAddresses.length;
  if (count === 0 || count > MAX_SERVER_NAMES) {
    throw new IssuanceError('ORDER_MALFORMED', `a server has 1 to ${MAX_SERVER_NAMES} names`);
  }
  const names = dnsNames.map((name) => {
    if (!DNS_NAME.test(name))
      throw new IssuanceError('ORDER_MALFORMED', `"${name.slice(0, 80)}" is not a lower-case host name`);
    return implicit(2, Buffer.from(name, 'latin1'));
  });
  const addresses = ipAddresses.map((address) => {
    const octets = parseIpAddress(address);
    if (octets === undefined)
      throw new IssuanceError('ORDER_MALFORMED', `"${address.slice(0, 80)}" is not an IP address`);
    return implicit(7, octets);
  });
  return {
    name: formatName({ commonName: GATEWAY_COMMON_NAME }),
    subjectAltName: sequence(...names, ...addresses),
  };
}
