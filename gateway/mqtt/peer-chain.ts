import type { X509Certificate } from 'node:crypto';

/** More than any maker's path needs; what comes after is not looked at. */
const MAX_CHAIN = 8;

/** What the client sent after its own certificate, DER, in its order; nothing of it is verified. */
export function peerChainOf(certificate: X509Certificate): Buffer[] {
  const chain: Buffer[] = [];
  for (
    let next = certificate.issuerCertificate;
    next !== undefined && chain.length < MAX_CHAIN;
    next = next.issuerCertificate
  ) {
    chain.push(next.raw);
  }
  return chain;
}
