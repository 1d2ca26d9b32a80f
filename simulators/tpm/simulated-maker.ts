import { createPublicKey, generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto';
import type { Der } from '#ca/pkix/der.ts';
import {
  bitString,
  boolean,
  explicit,
  implicit,
  integer,
  octetString,
  oid,
  sequence,
  setOf,
  time,
  utf8String,
} from '#ca/pkix/der.ts';
import { formatExtension } from '#ca/pkix/extensions.ts';
import { formatName } from '#ca/pkix/name.ts';
import { OID } from '#ca/pkix/oids.ts';
import { keyIdentifier } from '#ca/pkix/public-key.ts';
import { formatSerialNumber } from '#ca/pkix/serial-number.ts';
import { formatSignatureAlgorithm, signMessage } from '#ca/pkix/signature-algorithm.ts';

/** A manufacturer of simulated TPMs: a root to pin at the gateway, and an issuer below it. */
export type SimulatedMaker = {
  /** DER. */
  rootCertificate: Buffer;
  /** DER; goes along with every EK certificate or is known to the gateway. */
  issuerCertificate: Buffer;
  /** Of that issuer: whoever has it makes TPMs that count as endorsed where the root is pinned. */
  issuerKey: KeyObject;
  /** @param spki SubjectPublicKeyInfo of the endorsement key, DER. @returns the EK certificate, DER. */
  issueEkCertificate: (spki: Uint8Array, use: EkUse) => Buffer;
};

/** TCG EK Credential Profile 2.5, 3.5.6: RSA keys encipher, ECC keys agree. */
type EkUse = 'keyEncipherment' | 'keyAgreement';

const ALGORITHM_NAME = 'ecdsa-sha256';
const ALGORITHM = formatSignatureAlgorithm(ALGORITHM_NAME);
const DAY = 24 * 60 * 60 * 1000;
const YEAR = 365 * DAY;
/** RFC 5280 4.1.2.5: no well-defined end, as manufacturers write it. */
const NO_END = Date.UTC(9999, 11, 31, 23, 59, 59);
const CA_KEY_USAGE = bitString(Buffer.of(0x06), 1);
const EK_KEY_USAGES: Record<EkUse, Der> = {
  keyEncipherment: bitString(Buffer.of(0x20), 5),
  keyAgreement: bitString(Buffer.of(0x08), 3),
};

type Authority = { name: Der; privateKey: KeyObject; keyId: Buffer };

const ROOT_NAME = 'Simulated TPM Root';
const ISSUER_NAME = 'Simulated TPM Issuer';

/** The key of the root is forgotten at once. @param now milliseconds UTC; everything is valid from a day before. */
export function createSimulatedMaker(now: number = Date.now()): SimulatedMaker {
  const notBefore = now - DAY;
  const root = makeAuthority(ROOT_NAME);
  const issuer = makeAuthority(ISSUER_NAME);
  const caCertificate = (subject: Authority, signer: Authority, pathLength: number, years: number) =>
    sign(signer, {
      subject: subject.name,
      spki: spkiOf(subject.privateKey),
      validity: [notBefore, now + years * YEAR],
      extensions: [
        formatExtension(OID.basicConstraints, true, sequence(boolean(true), integer(pathLength))),
        formatExtension(OID.keyUsage, true, CA_KEY_USAGE),
        formatExtension(OID.subjectKeyIdentifier, false, octetString(subject.keyId)),
      ],
    });
  const kept = {
    rootCertificate: caCertificate(root, root, 1, 30),
    issuerCertificate: caCertificate(issuer, root, 0, 20),
    issuerKey: issuer.privateKey,
  };
  return resumeSimulatedMaker(kept, now);
}

/** A maker of before. @param kept what there is of it @param now milliseconds UTC */
export function resumeSimulatedMaker(
  kept: Omit<SimulatedMaker, 'issueEkCertificate'>,
  now: number = Date.now(),
): SimulatedMaker {
  const issuer = authorityOf(ISSUER_NAME, kept.issuerKey);
  return {
    ...kept,
    issueEkCertificate: (spki, use) =>
      sign(issuer, {
        // The TPM is named in the subjectAltName alone, which is critical therefore (RFC 5280 4.2.1.6).
        subject: sequence(),
        spki,
        validity: [now - DAY, NO_END],
        extensions: [
          formatExtension(OID.basicConstraints, true, sequence()),
          formatExtension(OID.keyUsage, true, EK_KEY_USAGES[use]),
          formatExtension(OID.extendedKeyUsage, false, sequence(oid(OID.ekCertificate))),
          TPM_NAMES,
        ],
      }),
  };
}

/** TCG EK Credential Profile 2.5, 3.1.2: a vendor that is nobody's, a model, a firmware version. */
const TPM_NAMES = formatExtension(
  OID.subjectAltName,
  true,
  sequence(
    explicit(
      4,
      sequence(
        tpmName(OID.tpmManufacturer, 'id:53494D55'),
        tpmName(OID.tpmModel, 'Simulated'),
        tpmName(OID.tpmVersion, 'id:00010000'),
      ),
    ),
  ),
);

function tpmName(type: string, text: string): Der {
  return setOf(sequence(oid(type), utf8String(text)));
}

function makeAuthority(commonName: string): Authority {
  return authorityOf(commonName, generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey);
}

function authorityOf(commonName: string, privateKey: KeyObject): Authority {
  return { name: formatName({ commonName }), privateKey, keyId: keyIdentifier(spkiOf(privateKey)) };
}

function spkiOf(privateKey: KeyObject): Buffer {
  return createPublicKey(privateKey).export({ type: 'spki', format: 'der' });
}

type Draft = { subject: Der; spki: Uint8Array; validity: [number, number]; extensions: Der[] };

function sign(signer: Authority, { subject, spki, validity, extensions }: Draft): Buffer {
  const authorityKeyId = sequence(implicit(0, signer.keyId));
  const tbs = sequence(
    explicit(0, integer(2)),
    integer(Buffer.from(formatSerialNumber(randomBytes(16)), 'hex')),
    ALGORITHM,
    signer.name,
    sequence(time(validity[0]), time(validity[1])),
    subject,
    spki,
    explicit(3, sequence(...extensions, formatExtension(OID.authorityKeyIdentifier, false, authorityKeyId))),
  );
  return sequence(tbs, ALGORITHM, bitString(signMessage(ALGORITHM_NAME, tbs, signer.privateKey)));
}
