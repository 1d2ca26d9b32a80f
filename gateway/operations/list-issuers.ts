import { type Certificate, parseCertificate } from '#ca/pkix/certificate.ts';
import type { AuthorityDescription } from '#ca/ports/certificate-authority.ts';

export type ListIssuer = { keyId: string; certificate: Certificate };

/**
 * Whose certificates lists are made for, the one that issues now first: what an older one has issued may still be
 * valid, and is revoked under its name (RFC 5280 5). One that has expired has nothing left to list.
 */
export function listIssuers(description: AuthorityDescription, now: number): ListIssuer[] {
  const { intermediateCertificate, issuers = [] } = description;
  const active = issuerOf(intermediateCertificate);
  const older = issuers.map(({ certificate }) => issuerOf(certificate));
  return [active, ...older.filter(({ keyId, certificate }) => keyId !== active.keyId && certificate.notAfter >= now)];
}

function issuerOf(der: Buffer): ListIssuer {
  const certificate = parseCertificate(der);
  return { keyId: certificate.subjectKeyId ?? '', certificate };
}
