import { hash, type KeyObject } from 'node:crypto';
import type { Certificate } from '#ca/pkix/certificate.ts';
import { readKeyBits } from '#ca/pkix/public-key.ts';
import { formatSignatureAlgorithm, signMessage } from '#ca/pkix/signature-algorithm.ts';
import type { OcspSigner } from '#gateway/ports/ocsp-signer.ts';

/** OCSP answers signed with a P-256 key of the gateway itself. */
export function createOcspSigner({ key, certificate }: { key: KeyObject; certificate: Certificate }): OcspSigner {
  return {
    certificate: certificate.der,
    keyHash: hash('sha1', readKeyBits(certificate.publicKey), 'buffer'),
    notAfter: certificate.notAfter,
    signatureAlgorithm: formatSignatureAlgorithm('ecdsa-sha256'),
    sign: (message) => signMessage('ecdsa-sha256', message, key),
  };
}
