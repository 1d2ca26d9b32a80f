import type { Der } from './der.ts';
import { explicit, implicit, integer, oid, readDer, sequence, setOf, TAG } from './der.ts';
import { DerFields, onlyChild, readNumber, readOid } from './der-values.ts';
import { OID } from './oids.ts';
import { PkixError } from './pkix-error.ts';

const NO_DIGEST_ALGORITHMS = setOf();
const NO_CONTENT = sequence(oid(OID.data));
const NO_SIGNERS = setOf();

/** SignedData without content and signers that carries certificates (RFC 5272 4.1), in the order given. */
export function formatCertsOnly(certificates: Uint8Array[]): Der {
  const carried = implicit(0, Buffer.concat(certificates), { constructed: true });
  const signedData = sequence(integer(1), NO_DIGEST_ALGORITHMS, NO_CONTENT, carried, NO_SIGNERS);
  return sequence(oid(OID.signedData), explicit(0, signedData));
}

const MAX_CERTIFICATES = 64;

/**
 * The certificates in it, DER, in their order, which means nothing. An empty CRL field is accepted.
 * @throws PkixError MALFORMED when it is anything but a certs-only message with at least one certificate.
 */
export function parseCertsOnly(der: Uint8Array): Buffer[] {
  const outer = new DerFields(readDer(der), 'a certs-only message');
  const contentType = readOid(outer.take(TAG.oid, 'a content type'), 'a content type');
  if (contentType !== OID.signedData) throw new PkixError('MALFORMED', 'the CMS message is not a SignedData');
  const signedData = onlyChild(outer.take(0xa0, 'content'), 'the content');
  outer.end();
  const fields = new DerFields(signedData, 'a SignedData');
  const version = readNumber(fields.take(TAG.integer, 'a version'), 'version');
  const digestAlgorithms = fields.take(TAG.set, 'digest algorithms').raw;
  const content = fields.take(TAG.sequence, 'content information').raw;
  const certificates = fields.take(0xa0, 'certificates').children();
  const crls = fields.optional(0xa1);
  const signers = fields.take(TAG.set, 'signer information').raw;
  fields.end();
  const isCertsOnly =
    version === 1 &&
    digestAlgorithms.equals(NO_DIGEST_ALGORITHMS) &&
    content.equals(NO_CONTENT) &&
    (crls === undefined || crls.content.length === 0) &&
    signers.equals(NO_SIGNERS);
  if (!isCertsOnly) throw new PkixError('MALFORMED', 'the SignedData is not certs-only');
  if (certificates.length === 0 || certificates.length > MAX_CERTIFICATES) {
    throw new PkixError('MALFORMED', `a certs-only message with ${certificates.length} certificates`);
  }
  return certificates.map((certificate) => {
    if (certificate.tag !== TAG.sequence)
      throw new PkixError('MALFORMED', 'a certs-only message with another kind of certificate');
    return certificate.raw;
  });
}
