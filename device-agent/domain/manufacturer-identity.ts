import { createPrivateKey, createPublicKey } from 'node:crypto';
import { type Certificate, parseCertificate } from '#ca/pkix/certificate.ts';
import { readDer } from '#ca/pkix/der.ts';
import { readText } from '#ca/pkix/der-values.ts';
import { parseName } from '#ca/pkix/name.ts';
import { OID } from '#ca/pkix/oids.ts';
import { parsePem } from '#ca/pkix/pem.ts';
import { AgentError } from './agent-error.ts';

/** What the maker of the device gave it: an IDevID (IEEE 802.1AR), by which it may ask for a first certificate. */
export type ManufacturerIdentity = {
  /** PEM, unencrypted. */
  key: string;
  /** PEM: the IDevID, then its issuers as far as they are known here. */
  certificates: string;
  /** Of its subject (2.5.4.5), the serial number of the device; undefined when it has none. */
  serialNumber: string | undefined;
};

/**
 * @param files contents in PEM; `chain` are issuers of the certificate.
 * @throws AgentError USAGE that says which file is unfit. Never repeats what a file holds.
 */
export function readManufacturerIdentity(files: {
  certificate: string;
  key: string;
  chain: string | undefined;
}): ManufacturerIdentity {
  const certificates = files.certificate + (files.chain === undefined ? '' : `\n${files.chain}`);
  const leaf = readLeaf(certificates);
  if (leaf.isCa)
    throw unfit('the IDevID certificate is one of a CA', 'give the one of this device first, its issuers after');
  if (!publicKeyOf(files.key).equals(leaf.publicKey))
    throw unfit('the IDevID key does not belong to the IDevID certificate', 'give the two that belong together');
  return { key: files.key, certificates, serialNumber: readSubjectSerialNumber(leaf) };
}

function readLeaf(certificates: string): Certificate {
  try {
    const [leaf] = parsePem(certificates, 'CERTIFICATE').map((der) => parseCertificate(der));
    if (leaf) return leaf;
  } catch {
    // Said below.
  }
  throw unfit(
    'the IDevID certificates are not certificates in PEM',
    'convert a file in DER: openssl x509 -inform DER -in FILE -out FILE.pem',
  );
}

function publicKeyOf(key: string): Buffer {
  try {
    return createPublicKey(createPrivateKey(key)).export({ type: 'spki', format: 'der' });
  } catch (cause) {
    throw unfit(
      'the IDevID key is not an unencrypted private key in PEM',
      'convert it: openssl pkcs8 -topk8 -nocrypt -in FILE -out FILE.pem, and close that file to others',
      cause,
    );
  }
}

function readSubjectSerialNumber({ subject }: Certificate): string | undefined {
  const attribute = parseName(readDer(subject), 'the subject')
    .flat()
    .find(({ type }) => type === OID.serialNumber);
  return attribute && readText(attribute.value, 'the serial number');
}

function unfit(what: string, advice: string, cause?: unknown): AgentError {
  return new AgentError('USAGE', what, { advice, cause });
}
