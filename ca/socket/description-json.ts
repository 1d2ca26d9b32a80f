import type { AuthorityDescription } from '#ca/ports/certificate-authority.ts';
import type { DescriptionJson } from './protocol.ts';

/** Certificates as base64. */
export function formatDescription(description: AuthorityDescription): DescriptionJson {
  const { rootCertificate, intermediateCertificate, issuers, ...rest } = description;
  return {
    ...rest,
    rootCertificate: rootCertificate.toString('base64'),
    intermediateCertificate: intermediateCertificate.toString('base64'),
    ...(issuers !== undefined && {
      issuers: issuers.map(({ certificate, root, crossCertificates, ...one }) => ({
        ...one,
        certificate: certificate.toString('base64'),
        root: root.toString('base64'),
        crossCertificates: crossCertificates.map((der) => der.toString('base64')),
      })),
    }),
  };
}

export function parseDescription(description: DescriptionJson): AuthorityDescription {
  const { rootCertificate, intermediateCertificate, issuers, ...rest } = description;
  return {
    ...rest,
    rootCertificate: Buffer.from(rootCertificate, 'base64'),
    intermediateCertificate: Buffer.from(intermediateCertificate, 'base64'),
    ...(issuers !== undefined && {
      issuers: issuers.map(({ certificate, root, crossCertificates, ...one }) => ({
        ...one,
        certificate: Buffer.from(certificate, 'base64'),
        root: Buffer.from(root, 'base64'),
        crossCertificates: crossCertificates.map((text) => Buffer.from(text, 'base64')),
      })),
    }),
  };
}
