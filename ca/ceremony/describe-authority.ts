import type { Certificate } from '#ca/pkix/certificate.ts';
import { formatNameText } from '#ca/pkix/name.ts';
import { formatPem } from '#ca/pkix/pem.ts';
import { classifyPublicKey } from '#ca/pkix/public-key.ts';
import { readAuthorityCertificates, readAuthorityFolder } from './authority-folder.ts';

/** Times in milliseconds UTC, hashes and ids in lower-case hexadecimal. */
type CaCertificateDescription = {
  subject: string;
  serial: string;
  notBefore: number;
  notAfter: number;
  sha256: string;
  keyId: string;
  algorithm: string;
};

export type AuthorityFolderDescription = {
  trustDomain: string;
  createdAt: number;
  root: CaCertificateDescription;
  intermediate: CaCertificateDescription;
};

/** For `gatehouse ca show`; needs no key and no running authority. @throws AuthorityError AUTHORITY_FAILED */
export async function describeAuthorityFolder(dir: string): Promise<AuthorityFolderDescription> {
  const { trustDomain, createdAt, root, intermediate } = await readAuthorityFolder(dir);
  return {
    trustDomain,
    createdAt,
    root: describeCaCertificate(root),
    intermediate: describeCaCertificate(intermediate),
  };
}

function describeCaCertificate(certificate: Certificate): CaCertificateDescription {
  const { subject, serial, notBefore, notAfter, sha256, subjectKeyId, publicKey } = certificate;
  return {
    subject: formatNameText(subject),
    serial,
    notBefore,
    notAfter,
    sha256,
    keyId: subjectKeyId ?? '',
    algorithm: classifyPublicKey(publicKey).description,
  };
}

/** For `gatehouse ca export`: PEM; `chain` is the intermediate and then the root. @throws AuthorityError AUTHORITY_FAILED */
export async function exportCertificates(dir: string, which: 'root' | 'intermediate' | 'chain'): Promise<string> {
  const { root, intermediate } = await readAuthorityCertificates(dir);
  const chosen = { root: [root], intermediate: [intermediate], chain: [intermediate, root] }[which];
  return chosen.map(({ der }) => formatPem('CERTIFICATE', der)).join('');
}
