import { type Certificate, parseCertificate } from '#ca/pkix/certificate.ts';
import { formatNameText } from '#ca/pkix/name.ts';
import { classifyPublicKey } from '#ca/pkix/public-key.ts';
import type { CertificateAuthority } from '#ca/ports/certificate-authority.ts';
import type { CaCertificateDetail, CaDescription } from '#gateway/contract/operator-api.ts';
import type { RevocationPublisher } from './publish-revocations.ts';

export async function describeCa(deps: {
  authority: CertificateAuthority;
  revocations: Pick<RevocationPublisher, 'lists'>;
}): Promise<CaDescription> {
  const { trustDomain, rootCertificate, intermediateCertificate } = await deps.authority.describe();
  const crl = deps.revocations.lists.full;
  return {
    trustDomain,
    root: detail(parseCertificate(rootCertificate)),
    intermediate: detail(parseCertificate(intermediateCertificate)),
    crl:
      crl === undefined
        ? null
        : { number: crl.number, thisUpdate: crl.thisUpdate, nextUpdate: crl.nextUpdate, entries: crl.entries },
  };
}

function detail(certificate: Certificate): CaCertificateDetail {
  const { serial, notBefore, notAfter, sha256, subjectKeyId } = certificate;
  return {
    subject: formatNameText(certificate.subject),
    serial,
    notBefore,
    notAfter,
    sha256,
    keyId: subjectKeyId ?? '',
    algorithm: classifyPublicKey(certificate.publicKey).description,
  };
}
