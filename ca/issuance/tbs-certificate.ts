import type { Der } from '#ca/pkix/der.ts';
import { bitString, explicit, implicit, integer, nullValue, octetString, oid, sequence, time } from '#ca/pkix/der.ts';
import { formatExtension } from '#ca/pkix/extensions.ts';
import { NO_REV_AVAIL } from '#ca/pkix/no-rev-avail.ts';
import { OID } from '#ca/pkix/oids.ts';
import { type CertifiedProofLevel, formatProofPolicies } from '#ca/pkix/proof-level.ts';
import { keyIdentifier } from '#ca/pkix/public-key.ts';
import { crlUrlFor, type Issuer, type StatusUrls } from './issuer.ts';
import { PROFILES, type ProfileName } from './profiles.ts';
import type { SubjectNames } from './subject-names.ts';

/** Everything of a certificate that its profile and its issuer do not fix. */
export type CertificateTemplate = {
  profile: ProfileName;
  /** 32 hexadecimal digits. */
  serial: string;
  names: SubjectNames;
  /** SubjectPublicKeyInfo, DER. */
  publicKey: Uint8Array;
  /** Milliseconds UTC, written in whole seconds. */
  notBefore: number;
  notAfter: number;
  /** Goes into certificatePolicies; left out: the certificate has none. */
  proofLevel?: CertifiedProofLevel;
  /** No status will be published: the certificate says so and names no place to look (RFC 9608). */
  noRevAvail?: boolean;
};

const VERSION_3 = explicit(0, integer(2));
/** RFC 5280 4.2.1.9: an end entity's is the empty SEQUENCE; critical, so that nobody takes it for a CA. */
const END_ENTITY = formatExtension(OID.basicConstraints, true, sequence());
/** RFC 5280 4.2.1.3: bit 0 alone. Every profile here signs and does nothing else. */
const DIGITAL_SIGNATURE = formatExtension(OID.keyUsage, true, bitString(Buffer.of(0x80), 7));

/** Not critical: whoever does not know TPMs may use the certificate all the same. */
const PROOF: Record<CertifiedProofLevel, Der> = {
  tpm: formatExtension(OID.certificatePolicies, false, formatProofPolicies('tpm')),
  'tpm-endorsed': formatExtension(OID.certificatePolicies, false, formatProofPolicies('tpm-endorsed')),
};

/** RFC 6960 4.2.2.2.1 */
const NO_CHECK = formatExtension(OID.ocspNoCheck, false, nullValue());

/** @returns a function that writes TBSCertificates (RFC 5280 4.1); what never changes for this issuer is written once. */
export function tbsCertificateFormatter(issuer: Issuer): (template: CertificateTemplate) => Der {
  const authorityKeyId = formatExtension(
    OID.authorityKeyIdentifier,
    false,
    sequence(implicit(0, Buffer.from(issuer.keyId, 'hex'))),
  );
  const { status } = issuer;
  const published = status === undefined ? () => [] : statusFormatter(status);
  const issuerOnly = status === undefined ? [] : [formatAccess([OID.caIssuers, status.issuer])];
  const purposes: Record<ProfileName, Der> = {
    device: formatPurposes('device'),
    'device-bootstrap': formatPurposes('device-bootstrap'),
    registrar: formatPurposes('registrar'),
    'gateway-server': formatPurposes('gateway-server'),
    'notice-signer': formatPurposes('notice-signer'),
    'ocsp-responder': formatPurposes('ocsp-responder'),
  };
  const { signatureAlgorithm } = issuer;
  const issuerName = issuer.certificate.subject;

  return ({ profile, serial, names, publicKey, notBefore, notAfter, proofLevel, noRevAvail }) => {
    const { subjectAltName } = names;
    const subjectKeyId = formatExtension(OID.subjectKeyIdentifier, false, octetString(keyIdentifier(publicKey)));
    const extensions = [END_ENTITY, DIGITAL_SIGNATURE, purposes[profile], subjectKeyId, authorityKeyId];
    // Not critical: the subject is never empty (RFC 5280 4.2.1.6).
    if (subjectAltName !== undefined) extensions.push(formatExtension(OID.subjectAltName, false, subjectAltName));
    if (proofLevel !== undefined) extensions.push(PROOF[proofLevel]);
    if (!PROFILES[profile].isStatusChecked) extensions.push(NO_CHECK, ...issuerOnly);
    else if (noRevAvail === true) extensions.push(NO_REV_AVAIL, ...issuerOnly);
    else extensions.push(...published(serial));
    return sequence(
      VERSION_3,
      integer(Buffer.from(serial, 'hex')),
      signatureAlgorithm,
      issuerName,
      sequence(time(notBefore), time(notAfter)),
      names.name,
      publicKey,
      explicit(3, sequence(...extensions)),
    );
  };
}

function formatPurposes(profile: ProfileName): Der {
  const purposes = PROFILES[profile].extendedKeyUsage.map((purpose) => oid(purpose));
  return formatExtension(OID.extendedKeyUsage, false, sequence(...purposes));
}

/** CRL and OCSP; what differs from certificate to certificate is only the list its serial belongs to. */
function statusFormatter(status: StatusUrls): (serial: string) => Der[] {
  const access = formatAccess([OID.ocsp, status.ocsp], [OID.caIssuers, status.issuer]);
  const points = new Map<string, Der>();
  return (serial) => {
    const url = crlUrlFor(status, serial);
    let point = points.get(url);
    if (point === undefined) {
      point = formatExtension(OID.crlDistributionPoints, false, sequence(formatDistributionPoint(url)));
      points.set(url, point);
    }
    return [point, access];
  };
}

/** DistributionPoint (RFC 5280 4.2.1.13) with one URL and nothing else. */
function formatDistributionPoint(url: string): Der {
  const fullName = implicit(0, implicit(6, Buffer.from(url, 'latin1')), { constructed: true });
  return sequence(implicit(0, fullName, { constructed: true }));
}

/** RFC 5280 4.2.2.1 */
function formatAccess(...places: [method: string, url: string][]): Der {
  const descriptions = places.map(([method, url]) => sequence(oid(method), implicit(6, Buffer.from(url, 'latin1'))));
  return formatExtension(OID.authorityInfoAccess, false, sequence(...descriptions));
}

/** tbsCertificate, signatureAlgorithm, signatureValue. @param signature as the Signer gives it. */
export function assembleCertificate(tbs: Uint8Array, signatureAlgorithm: Uint8Array, signature: Uint8Array): Der {
  return sequence(tbs, signatureAlgorithm, bitString(signature));
}
