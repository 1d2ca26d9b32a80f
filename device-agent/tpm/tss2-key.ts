import { readDer, TAG } from '#ca/pkix/der.ts';
import { DerFields, readOid, readUnsigned } from '#ca/pkix/der-values.ts';
import { parsePem } from '#ca/pkix/pem.ts';
import { nameOf, parseSizedPublicArea } from '#ca/tpm2/public-area.ts';
import type { Tss2Key } from '#ca/tpm2/tss2-pem.ts';

const LABEL = 'TSS2 PRIVATE KEY';
const LOADABLE_KEY = '2.23.133.10.1.3';

export function isTss2Pem(pem: string): boolean {
  return pem.includes(`-----BEGIN ${LABEL}-----`);
}

/** @throws PkixError MALFORMED; RangeError when it is one of another kind than we write. */
export function parseTss2Pem(pem: string): Tss2Key {
  const [der] = parsePem(pem, LABEL);
  const fields = new DerFields(readDer(der ?? Buffer.alloc(0)), 'the TPM key');
  if (readOid(fields.take(TAG.oid, 'its type'), 'the type of the TPM key') !== LOADABLE_KEY)
    throw new RangeError('the TPM key is not a loadable key');
  fields.optional(0xa0);
  const parent = readUnsigned(fields.take(TAG.integer, 'its parent'), 'the parent of the TPM key');
  const publicArea = fields.take(TAG.octetString, 'its public area').content;
  const privateArea = fields.take(TAG.octetString, 'its wrapped private area').content;
  fields.end();
  return { parentHandle: Number.parseInt(parent.toString('hex'), 16), publicArea, privateArea };
}

/** Name of the key as the TPM calls it, lower-case hexadecimal. @throws as `parseTss2Pem` */
export function tss2KeyName(pem: string): string {
  return nameOf(parseSizedPublicArea(Buffer.from(parseTss2Pem(pem).publicArea))).toString('hex');
}
