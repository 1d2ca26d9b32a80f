import { createPublicKey, type KeyObject, randomBytes } from 'node:crypto';
import {
  bitString,
  boolean,
  type Der,
  explicit,
  implicit,
  integer,
  octetString,
  sequence,
  time,
} from '#ca/pkix/der.ts';
import { formatExtension } from '#ca/pkix/extensions.ts';
import { formatName } from '#ca/pkix/name.ts';
import { OID } from '#ca/pkix/oids.ts';
import { keyIdentifier } from '#ca/pkix/public-key.ts';
import { formatSerialNumber } from '#ca/pkix/serial-number.ts';
import { formatSignatureAlgorithm, type SignatureAlgorithmName, signMessage } from '#ca/pkix/signature-algorithm.ts';

/** Who signs: for a root, the subject itself. */
type CaIssuer = { name: Der; privateKey: KeyObject; algorithm: SignatureAlgorithmName };

export type CaTemplate = {
  /** Name, DER. */
  subject: Der;
  publicKey: Buffer;
  /** Left out: not limited. */
  pathLength?: number;
  /** Milliseconds UTC. */
  notBefore: number;
  notAfter: number;
  issuer: CaIssuer;
  /** Subject key id of the issuer. Left out for a root (RFC 5280 4.2.1.1). */
  authorityKeyId?: Buffer;
};

/** A CA's certificate (RFC 5280 4.1): CA:TRUE, keyCertSign and cRLSign, both critical. @returns DER */
export function formatCaCertificate(template: CaTemplate): Der {
  const { subject, publicKey, pathLength, notBefore, notAfter, issuer, authorityKeyId } = template;
  const algorithm = formatSignatureAlgorithm(issuer.algorithm);
  const constraints = sequence(boolean(true), ...(pathLength === undefined ? [] : [integer(pathLength)]));
  const extensions = [
    formatExtension(OID.basicConstraints, true, constraints),
    // RFC 5280 4.2.1.3: bits 5 and 6.
    formatExtension(OID.keyUsage, true, bitString(Buffer.of(0x06), 1)),
    formatExtension(OID.subjectKeyIdentifier, false, octetString(keyIdentifier(publicKey))),
  ];
  if (authorityKeyId !== undefined) {
    extensions.push(formatExtension(OID.authorityKeyIdentifier, false, sequence(implicit(0, authorityKeyId))));
  }
  const tbs = sequence(
    explicit(0, integer(2)),
    integer(Buffer.from(formatSerialNumber(randomBytes(16)), 'hex')),
    algorithm,
    issuer.name,
    sequence(time(notBefore), time(notAfter)),
    subject,
    publicKey,
    explicit(3, sequence(...extensions)),
  );
  return sequence(tbs, algorithm, bitString(signMessage(issuer.algorithm, tbs, issuer.privateKey)));
}

export function publicKeyOf(privateKey: KeyObject): Buffer {
  return createPublicKey(privateKey).export({ type: 'spki', format: 'der' });
}

/** Part of the key id stands in the name: two authorities never share one, even with the same organization. */
export function caName(organization: string, role: 'Root' | 'Issuing', publicKey: Buffer): Der {
  const id = keyIdentifier(publicKey).toString('hex').slice(0, 8);
  return formatName({ organization, commonName: `Gatehouse ${role} CA ${id}` });
}
