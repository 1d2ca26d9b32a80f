import type { Der } from '#ca/pkix/der.ts';
import { classifyPublicKey } from '#ca/pkix/public-key.ts';
import { IssuanceError } from './issuance-error.ts';
import type { Issuer } from './issuer.ts';
import { findProfile, NOT_BEFORE_SET_BACK } from './profiles.ts';
import { formatSubjectNames, type Subject } from './subject-names.ts';
import type { CertificateTemplate } from './tbs-certificate.ts';

export type CertificateOrder = Subject & {
  /** 32 hexadecimal digits. */
  serial: string;
  /** SubjectPublicKeyInfo, DER. */
  publicKey: Uint8Array;
  lifetimeSeconds: number;
};

/**
 * From an order to the bytes to be signed, if its profile allows it.
 * @param formatTbs of this issuer @param now milliseconds UTC
 * @returns TBSCertificate, DER
 * @throws IssuanceError
 */
export function prepareCertificate(
  order: CertificateOrder,
  issuer: Issuer,
  formatTbs: (template: CertificateTemplate) => Der,
  now: number,
): Der {
  const profile = findProfile(order.profile);
  const { least, most } = profile.lifetime;
  const { lifetimeSeconds, publicKey, serial } = order;
  if (!Number.isSafeInteger(lifetimeSeconds) || lifetimeSeconds < least || lifetimeSeconds > most) {
    throw new IssuanceError('PROFILE_REFUSED', `a ${order.profile} certificate lives ${least} to ${most} seconds`);
  }
  const { kind, description } = classifyPublicKey(publicKey);
  if (kind === undefined || !profile.keyKinds.includes(kind)) {
    throw new IssuanceError('PROFILE_REFUSED', `a ${order.profile} certificate is not for the key: ${description}`);
  }
  const noRevAvail = order.profile === 'device' && order.noRevAvail === true;
  if (noRevAvail && lifetimeSeconds > profile.mostWithoutStatus) {
    throw new IssuanceError(
      'PROFILE_REFUSED',
      `a ${order.profile} certificate that lives longer than ${profile.mostWithoutStatus} seconds needs published status`,
    );
  }
  const second = Math.floor(now / 1000) * 1000;
  const notBefore = Math.max(second - NOT_BEFORE_SET_BACK, issuer.certificate.notBefore);
  const notAfter = Math.min(second + lifetimeSeconds * 1000, issuer.certificate.notAfter);
  if (notAfter <= now) throw new IssuanceError('PROFILE_REFUSED', 'the issuing CA has expired');
  if (now < issuer.certificate.notBefore)
    throw new IssuanceError('PROFILE_REFUSED', 'the issuing CA is not valid yet: check the clock');
  const names = formatSubjectNames(order, issuer.trustDomain);
  const proofLevel = order.profile === 'device' ? order.proofLevel : undefined;
  return formatTbs({
    profile: order.profile,
    serial,
    names,
    publicKey,
    notBefore,
    notAfter,
    ...(proofLevel !== undefined && { proofLevel }),
    noRevAvail,
  });
}
