import type { Der, DerElement } from './der.ts';
import { octetString, oid, readDer, sequence, setOf, TAG } from './der.ts';
import { DerFields, expectTag, readOid } from './der-values.ts';
import { OID } from './oids.ts';
import { PkixError } from './pkix-error.ts';

/** What TPM2_Certify states about the key of a CSR, in TPM structures without TPM2B sizes. Nothing is verified yet. */
type AttestationStatement = {
  /** TPMS_ATTEST. */
  attest: Buffer;
  /** ECDSA: DER or TPMT_SIGNATURE; RSA: the bare value. */
  signature: Buffer;
  /** TPMT_PUBLIC of the key. */
  publicArea: Buffer;
};

export type CsrAttestation = AttestationStatement & {
  /** DER, in an order that means nothing; not trusted by being here. */
  certificates: Buffer[];
};

const MAX_CERTIFICATES = 8;

/**
 * The CSR attribute id-aa-attestation (draft-ietf-lamps-csr-attestation-29 4.3), one statement of tcg-attest-certify in it.
 * @returns a whole Attribute (OID and SET), as formatCsr takes it.
 */
export function formatAttestationAttribute(
  statement: { attest: Uint8Array; signature: Uint8Array; publicArea: Uint8Array },
  certificates: Uint8Array[] = [],
): Der {
  const { attest, signature, publicArea } = statement;
  const certify = sequence(octetString(attest), octetString(signature), octetString(publicArea));
  const attestations = sequence(sequence(oid(OID.attestCertify), certify));
  const bundle = certificates.length === 0 ? sequence(attestations) : sequence(attestations, sequence(...certificates));
  return sequence(oid(OID.aaAttestation), setOf(bundle));
}

/**
 * @param attributes of parseCsr, which has refused an attribute that stands there twice.
 * @returns undefined when the CSR carries no attestation.
 * @throws PkixError MALFORMED, or UNSUPPORTED for other kinds of statements and certificates
 */
export function parseAttestationAttribute(attributes: ReadonlyMap<string, Buffer[]>): CsrAttestation | undefined {
  const values = attributes.get(OID.aaAttestation);
  if (values === undefined) return undefined;
  const [value, second] = values;
  if (value === undefined || second !== undefined)
    throw new PkixError('MALFORMED', 'the attestation attribute has not one value');
  const fields = new DerFields(readDer(value), 'an attestation bundle');
  const [statement, another] = fields.take(TAG.sequence, 'attestations').children();
  const certificatesElement = fields.optional(TAG.sequence);
  fields.end();
  if (statement === undefined) throw new PkixError('MALFORMED', 'the attestation bundle is empty');
  // One key, one TPM: a second statement could only say something else than what is verified.
  if (another !== undefined) throw new PkixError('UNSUPPORTED', 'the attestation bundle has more than one statement');
  return { ...readStatement(statement), certificates: readCertificates(certificatesElement) };
}

/** Exactly two fields: the third one of older drafts, a hint for the verifier, is refused. */
function readStatement(element: DerElement): AttestationStatement {
  const [type, certify, third] = expectTag(element, TAG.sequence, 'an attestation statement').children();
  if (type === undefined || certify === undefined || third !== undefined)
    throw new PkixError('MALFORMED', 'an attestation statement is not a type and a value');
  if (readOid(type, 'an attestation type') !== OID.attestCertify)
    throw new PkixError('UNSUPPORTED', 'the attestation is not of the type tcg-attest-certify');
  const fields = new DerFields(certify, 'a tcg-attest-certify statement');
  const attest = fields.take(TAG.octetString, 'TPMS_ATTEST').content;
  const signature = fields.take(TAG.octetString, 'a signature').content;
  // OPTIONAL in the syntax; without it the Name in the attestation could not be tied to the key of the CSR.
  const publicArea = fields.take(TAG.octetString, 'TPMT_PUBLIC').content;
  fields.end();
  return { attest, signature, publicArea };
}

/** RFC 5652 10.2.2: [3] is another format, which may stand there and is passed over. */
const OTHER_FORMAT = 0xa3;

function readCertificates(element: DerElement | undefined): Buffer[] {
  if (element === undefined) return [];
  const choices = element.children();
  if (choices.length === 0 || choices.length > MAX_CERTIFICATES)
    throw new PkixError('MALFORMED', `an attestation bundle with ${choices.length} certificates`);
  for (const { tag } of choices) {
    // Attribute certificates ([1], [2]) and extended ones ([0]) must not appear (4.1).
    if (tag !== TAG.sequence && tag !== OTHER_FORMAT)
      throw new PkixError('UNSUPPORTED', 'the attestation bundle holds another kind of certificate');
  }
  return choices.filter(({ tag }) => tag === TAG.sequence).map(({ raw }) => raw);
}
