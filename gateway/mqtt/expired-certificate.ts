import { type Certificate, parseCertificate } from '#ca/pkix/certificate.ts';
import { OID } from '#ca/pkix/oids.ts';
import { validatePath } from '#ca/pkix/path.ts';

/** As the profile of a device has it, and neither that of a claim nor that of a registrar. */
const DEVICE_URI = /^spiffe:\/\/[^/]+\/device\/[^/]+$/;

/**
 * Whether nothing is wrong with this certificate but that it has ended, and one of our issuing CAs made it for a device.
 *
 * OpenSSL goes on after an error and tells the last one, and it looks at the dates of the leaf last: "expired" may stand
 * for an unknown issuer, a wrong signature or another purpose as well. So all of it is verified here once more, from the
 * certificate alone: what else the client sent does not count. Never throws.
 * @param issuers our issuing CAs, and no maker's @param now milliseconds UTC
 */
export function hasOnlyExpired(der: Buffer, issuers: readonly Certificate[], now: number): boolean {
  try {
    const certificate = parseCertificate(der);
    if (!hasEnded(certificate, now) || !isOfDevice(certificate)) return false;
    const anchors = issuers.filter(({ notBefore, notAfter }) => now >= notBefore && now < notAfter + 1000);
    // Without its dates: those were looked at above.
    validatePath(certificate, { anchors, intermediates: [], maxCertificates: 2 });
    return true;
  } catch {
    // Unreadable, or without a path: the reason does not matter, it is refused as before.
    return false;
  }
}

/** By the rule of the record too (RFC 5280 4.1.2.5: the last second belongs to the period): OpenSSL is a second early. */
function hasEnded({ notBefore, notAfter }: Certificate, now: number): boolean {
  return now >= notBefore && now >= notAfter + 1000;
}

function isOfDevice({ isCa, keyUsage, extendedKeyUsage = [], uris }: Certificate): boolean {
  const [purpose, ...morePurposes] = extendedKeyUsage;
  const isForClients = purpose === OID.clientAuth && morePurposes.length === 0;
  const isForSignatures = keyUsage?.has('digitalSignature') === true && !keyUsage.has('keyCertSign');
  return !isCa && isForClients && isForSignatures && uris.some((uri) => DEVICE_URI.test(uri));
}
