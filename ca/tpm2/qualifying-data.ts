import { createHash, hash } from 'node:crypto';

const CONTEXT = Buffer.from('gatehouse-attest-v1\0', 'latin1');

/**
 * What TPM2_Certify is asked to sign along, 32 octets: evidence counts for this freshness and this key alone.
 * @param freshness of fixed size for its protocol: the nonce, or the secret of the credential. @param spki of the CSR, DER.
 */
export function bindEvidence(freshness: Uint8Array, spki: Uint8Array): Buffer {
  return createHash('sha256')
    .update(CONTEXT)
    .update(freshness)
    .update(hash('sha256', spki, 'buffer'))
    .digest();
}
