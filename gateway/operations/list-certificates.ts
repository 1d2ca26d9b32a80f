import { formatPem } from '#ca/pkix/pem.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { CertificateDetail, CertificateState, CertificateSummary, Page } from '#gateway/contract/operator-api.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import type { Store } from '#gateway/ports/store.ts';
import { page, summarise } from './list-devices.ts';

export type ListCertificatesDeps = { store: Pick<Store, 'read'> };

export type ListedCertificate = CertificateSummary & { deviceId: string | null };

export async function listCertificates(
  deps: ListCertificatesDeps,
  query: { after?: string | undefined; limit: number; state?: CertificateState; deviceId?: DeviceId },
): Promise<Page<ListedCertificate>> {
  const certificates = await deps.store.read.certificates.list(query);
  const items = certificates.map((certificate) => ({ ...summarise(certificate), deviceId: certificate.deviceId }));
  return page(items, query.limit, (item) => item.serial);
}

/** @param serial hexadecimal, as any tool prints it: case and colons do not matter. @throws GatewayError NOT_FOUND */
export async function showCertificate(deps: ListCertificatesDeps, serial: string): Promise<CertificateDetail> {
  const normal = serial.toLowerCase().replace(/:/g, '').replace(/^0x/, '').padStart(32, '0');
  const certificate = await deps.store.read.certificates.find(normal);
  if (certificate === undefined) throw new GatewayError('NOT_FOUND', 'no certificate with this serial was issued here');
  const { deviceId, proofLevel, issuerKeyId, spkiSha256, revokedAt, revocationReason, der } = certificate;
  return {
    ...summarise(certificate),
    deviceId,
    proofLevel,
    issuerKeyId,
    spkiSha256,
    revokedAt,
    revocationReason,
    pem: formatPem('CERTIFICATE', der),
  };
}
