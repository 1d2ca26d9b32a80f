import type { Certificate } from './certificate.ts';
import { verifyCertificateSignature } from './certificate.ts';
import { oid } from './der.ts';
import { OID } from './oids.ts';
import { PkixError } from './pkix-error.ts';

export type PathOptions = {
  /** Not trusted by being here. */
  intermediates: Certificate[];
  anchors: Certificate[];
  /** Milliseconds UTC. Left out: dates are not checked, for a device without a trusted clock (RFC 8995 2.6.1). */
  at?: number;
  /** The leaf must name this purpose; that it names none at all is not enough. */
  extendedKeyUsage?: string;
  /** Leaf and anchor counted; 4 when left out. TPM makers have longer paths. */
  maxCertificates?: number;
};

/** Leaf, two intermediates, anchor. */
const MAX_PATH_CERTIFICATES = 4;
/** Bounds the work a hostile set of certificates with the same names can cause. */
const MAX_SIGNATURE_CHECKS = 32;

/** What this validator understands; any other critical extension refuses the path (RFC 5280 6.1.4 o). */
const UNDERSTOOD: ReadonlySet<string> = new Set([
  OID.basicConstraints,
  OID.keyUsage,
  OID.extendedKeyUsage,
  OID.subjectAltName,
]);

/**
 * RFC 5280 6.1 without policies (critical ones are refused, not ignored) and without name constraints (a CA that has any
 * is refused): name chaining by DER, signatures, dates, CA flag, keyCertSign, path length, critical extensions, the
 * leaf's purpose. Revocation is for the caller; what says of itself that there is no status says so rightly (RFC 9608).
 * The anchor is held to the same rights and dates as any CA.
 * @returns leaf first, anchor last; the leaf alone when it is an anchor itself.
 * @throws PkixError CHAIN_INVALID, or OUT_OF_VALIDITY when only the dates were wrong.
 */
export function validatePath(leaf: Certificate, options: PathOptions): Certificate[] {
  const { extendedKeyUsage } = options;
  if (extendedKeyUsage !== undefined && leaf.extendedKeyUsage?.includes(extendedKeyUsage) !== true) {
    throw new PkixError('CHAIN_INVALID', `the certificate is not for the purpose ${extendedKeyUsage}`);
  }
  checkCriticalExtensions(leaf);
  checkNoRevAvail(leaf);
  const search: Search = { ...options, checksLeft: MAX_SIGNATURE_CHECKS, outOfValidity: undefined };
  const path = extend([leaf], search);
  if (path !== undefined) return path;
  if (search.outOfValidity !== undefined) throw search.outOfValidity;
  throw new PkixError('CHAIN_INVALID', 'no path from the certificate to a trusted root');
}

type Search = PathOptions & { checksLeft: number; outOfValidity: PkixError | undefined };

/** Depth first over every issuer that fits by name. */
function extend(path: Certificate[], search: Search): Certificate[] | undefined {
  const last = path.at(-1);
  if (last === undefined) return undefined;
  if (search.anchors.some((anchor) => anchor.der.equals(last.der)))
    return isInValidity(path, search) ? path : undefined;
  if (path.length === (search.maxCertificates ?? MAX_PATH_CERTIFICATES)) return undefined;
  for (const issuer of [...search.anchors, ...search.intermediates]) {
    if (!mayIssue(issuer, last, path.length - 1) || path.some((seen) => seen.der.equals(issuer.der))) continue;
    if (search.checksLeft === 0) return undefined;
    search.checksLeft -= 1;
    if (!verifyCertificateSignature(last, issuer.publicKey)) continue;
    const found = extend([...path, issuer], search);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** @param below how many intermediates already stand between the issuer and the leaf. */
function mayIssue(issuer: Certificate, subject: Certificate, below: number): boolean {
  if (!issuer.subject.equals(subject.issuer)) return false;
  const { authorityKeyId } = subject;
  if (authorityKeyId !== undefined && issuer.subjectKeyId !== undefined && authorityKeyId !== issuer.subjectKeyId)
    return false;
  if (!issuer.isCa || issuer.keyUsage?.has('keyCertSign') === false) return false;
  if (issuer.pathLength !== undefined && issuer.pathLength < below) return false;
  // RFC 5280 4.2.1.10 has them critical; one written otherwise says what this CA may not certify all the same.
  if (issuer.extensions.has(OID.nameConstraints)) return false;
  // RFC 9608 2: of a CA there is always status to be had.
  if (issuer.extensions.has(OID.noRevAvail)) return false;
  return hasOnlyKnownCriticalExtensions(issuer);
}

function isInValidity(path: Certificate[], search: Search): boolean {
  const { at } = search;
  if (at === undefined) return true;
  // RFC 5280 4.1.2.5: both ends belong to the period; they are whole seconds.
  const wrong = path.find(({ notBefore, notAfter }) => at < notBefore || at >= notAfter + 1000);
  if (wrong === undefined) return true;
  const which = wrong === path[0] ? 'the certificate' : 'a certificate of the chain';
  const when = at < wrong.notBefore ? 'is not valid yet' : 'has expired';
  search.outOfValidity = new PkixError('OUT_OF_VALIDITY', `${which} ${when}`);
  return false;
}

function checkCriticalExtensions(leaf: Certificate): void {
  if (!hasOnlyKnownCriticalExtensions(leaf)) {
    throw new PkixError('CHAIN_INVALID', 'the certificate has a critical extension we do not know');
  }
}

/** RFC 9608 3: a certificate that has no status, and says where it is to be had, is none. */
function checkNoRevAvail({ extensions }: Certificate): void {
  if (!extensions.has(OID.noRevAvail)) return;
  const isNamed = extensions.has(OID.crlDistributionPoints) || extensions.has(OID.freshestCrl);
  // Searched, not read: in this extension these octets stand for nothing else.
  const hasOcsp = extensions.get(OID.authorityInfoAccess)?.value.includes(oid(OID.ocsp)) === true;
  if (isNamed || hasOcsp)
    throw new PkixError('CHAIN_INVALID', 'the certificate says that it has no status, and where that is');
}

function hasOnlyKnownCriticalExtensions({ extensions }: Certificate): boolean {
  for (const [type, { critical }] of extensions) {
    if (critical && !UNDERSTOOD.has(type)) return false;
  }
  return true;
}
