import type { Der } from '#ca/pkix/der.ts';
import { bitString, explicit, implicit, integer, octetString, oid, sequence, time } from '#ca/pkix/der.ts';
import { formatExtension } from '#ca/pkix/extensions.ts';
import { OID } from '#ca/pkix/oids.ts';
import { type CertifiedProofLevel, formatProofPolicies } from '#ca/pkix/proof-level.ts';
import { keyIdentifier } from '#ca/pkix/public-key.ts';
import type { Issuer } from './issuer.ts';
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

/** @returns a function that writes TBSCertificates (RFC 5280 4.1); what never changes for this issuer is written once. */
export function tbsCertificateFormatter(issuer: Issuer): (template: CertificateTemplate) => Der {
  const authorityKeyId = formatExtension(
    OID.authorityKeyIdentifier,
    false,
    sequence(implicit(0, Buffer.from(issuer.keyId, 'hex'))),
  );
  const statusExtensions = issuer.status === undefined ? [] : formatStatus(issuer.status);
  const purposes: Record<ProfileName, Der> = {
    device: formatPurposes('device'),
    'device-bootstrap': formatPurposes('device-bootstrap'),
    registrar: formatPurposes('registrar'),
    'gateway-server': formatPurposes('gateway-server'),
    'notice-signer': formatPurposes('notice-signer'),
  };
  const { signatureAlgorithm } = issuer;
  const issuerName = issuer.certificate.subject;

  return ({ profile, serial, names, publicKey, notBefore, notAfter, proofLevel }) => {
    const { subjectAltName } = names;
    const subjectKeyId = formatExtension(OID.subjectKeyIdentifier, false, octetString(keyIdentifier(publicKey)));
    const extensions = [END_ENTITY, DIGITAL_SIGNATURE, purposes[profile], subjectKeyId, authorityKeyId];
    // Not critical: the subject is never empty (RFC 5280 4.2.1.6).
    if (subjectAltName !== undefined) extensions.push(formatExtension(OID.subjectAltName, false, subjectAltName));
    if (proofLevel !== undefined) extensions.push(PROOF[proofLevel]);
    return sequence(
      VERSION_3,
      integer(Buffer.from(serial, 'hex')),
      signatureAlgorithm,
      issuerName,
      sequence(time(notBefore), time(notAfter)),
      names.name,
      publicKey,
      explicit(3, sequence(...extensions, ...statusExtensions)),
    );
  };
}

function formatPurposes(profile: ProfileName): Der {
  const purposes = PROFILES[profile].extendedKeyUsage.map((purpose) => oid(purpose));
  return formatExtension(OID.extendedKeyUsage, false, sequence(...purposes));
}

function formatStatus(status: { crl: string; issuer: string }): Der[] {
  const crlUri = implicit(6, Buffer.from(status.crl, 'latin1'));
  const fullName = implicit(0, crlUri, { constructed: true });
  const distributionPoint = sequence(implicit(0, fullName, { constructed: true }));
  const issuerUri = implicit(6, Buffer.from(status.issuer, 'latin1'));
  return [
    formatExtension(OID.crlDistributionPoints, false, sequence(distributionPoint)),
    formatExtension(OID.authorityInfoAccess, false, sequence(sequence(oid(OID.caIssuers), issuerUri))),
  ];
}

/** tbsCertificate, signatureAlgorithm, signatureValue. @param signature as the Signer gives it. */
export function assembleCertificate(tbs: Uint8Array, signatureAlgorithm: Uint8Array, signature: Uint8Array): Der {
  return sequence(tbs, signatureAlgorithm, bitString(signature));
}
