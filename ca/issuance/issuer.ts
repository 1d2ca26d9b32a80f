import type { Certificate } from '#ca/pkix/certificate.ts';
import { formatSignatureAlgorithm, type SignatureAlgorithmName } from '#ca/pkix/signature-algorithm.ts';
import { IssuanceError } from './issuance-error.ts';

/** Paths below the status URL, for the ones who serve them. */
export const STATUS_PATHS = { crl: '/crl/intermediate.crl', issuer: '/ca/intermediate.cer' } as const;

/** What of the issuing CA goes into the certificates it issues. */
export type Issuer = {
  certificate: Certificate;
  /** Subject key id, lower-case hexadecimal. */
  keyId: string;
  /** AlgorithmIdentifier of its signatures, DER. */
  signatureAlgorithm: Buffer;
  trustDomain: string;
  /** URL of the CRL and of the issuer's certificate; left out when no status server is configured. */
  status?: { crl: string; issuer: string };
};

/**
 * @param options.statusUrl base of the status server, http, e.g. `http://gate.example:8080`: what is fetched from there is
 * signed, and https would need a check of the very thing that is being checked (RFC 5280 8).
 * @throws IssuanceError PROFILE_REFUSED when this certificate cannot issue, or the URL cannot stand in certificates.
 */
export function describeIssuer(
  certificate: Certificate,
  options: { algorithm: SignatureAlgorithmName; trustDomain: string; statusUrl?: string },
): Issuer {
  const { subjectKeyId, isCa, keyUsage } = certificate;
  if (subjectKeyId === undefined || !isCa || keyUsage?.has('keyCertSign') !== true || !keyUsage.has('cRLSign')) {
    throw new IssuanceError('PROFILE_REFUSED', 'the issuing certificate is not that of a CA');
  }
  return {
    certificate,
    keyId: subjectKeyId,
    signatureAlgorithm: formatSignatureAlgorithm(options.algorithm),
    trustDomain: options.trustDomain,
    ...(options.statusUrl !== undefined && { status: statusUrls(options.statusUrl) }),
  };
}

function statusUrls(base: string): { crl: string; issuer: string } {
  const url = base.replace(/\/+$/, '');
  if (!/^http:\/\/[\x21-\x7e]{1,200}$/.test(url))
    throw new IssuanceError('PROFILE_REFUSED', 'the status URL is not an http URL');
  return { crl: `${url}${STATUS_PATHS.crl}`, issuer: `${url}${STATUS_PATHS.issuer}` };
}
