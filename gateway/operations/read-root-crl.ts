import type { Certificate } from '#ca/pkix/certificate.ts';
import { PkixError } from '#ca/pkix/pkix-error.ts';
import { type Crl, parseCrl, verifyCrlSignature } from '#ca/revocation/parse-crl.ts';

/**
 * The root's list of revoked intermediates, as a person has put it there.
 * @returns undefined when it is not one, or another root's
 */
export function readRootCrl(der: Buffer, root: Certificate): Crl | undefined {
  try {
    const crl = parseCrl(der);
    return verifyCrlSignature(crl, root.publicKey) ? crl : undefined;
  } catch (error) {
    if (error instanceof PkixError) return undefined;
    throw error;
  }
}
