import { parseCertificate } from '#ca/pkix/certificate.ts';
import { spkiSha256 } from '#ca/pkix/public-key.ts';
import type { IssuanceOrder } from '#ca/ports/issuance-order.ts';
import type { CertificateRecord } from '#gateway/domain/certificate-record.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';

/** The row of a certificate that is good from its issue on, unlike a device's, which has to be used first. */
export function activeRecord(
  der: Buffer,
  { serial, profile, publicKey }: Pick<IssuanceOrder, 'serial' | 'profile' | 'publicKey'>,
  { deviceId, now }: Pick<CertificateRecord, 'deviceId'> & { now: number },
): CertificateRecord {
  const certificate = parseCertificate(der);
  if (certificate.serial !== serial || !certificate.publicKey.equals(publicKey)) {
    throw new GatewayError('INTERNAL', 'the authority answered with another certificate than was ordered');
  }
  return {
    serial,
    issuerKeyId: certificate.authorityKeyId ?? '',
    deviceId,
    profile,
    spkiSha256: spkiSha256(certificate.publicKey),
    sha256: certificate.sha256,
    state: 'active',
    proofLevel: null,
    notBefore: certificate.notBefore,
    notAfter: certificate.notAfter,
    issuedAt: now,
    activatedAt: now,
    supersedeAt: null,
    lapseAt: null,
    revokedAt: null,
    revocationReason: null,
    enrollmentId: null,
    lineageId: null,
    renewFrom: null,
    renewUntil: null,
    der: certificate.der,
  };
}
