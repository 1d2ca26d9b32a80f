import { type Certificate, parseCertificate, verifyCertificateSignature } from '#ca/pkix/certificate.ts';
import type { CaGenerationState } from '#gateway/contract/operator-api.ts';

/** An issuing CA of ours, and what leads to it. */
export type CaIssuer = {
  keyId: string;
  certificate: Certificate;
  root: Certificate;
  /** NewWithOld and OldWithNew (RFC 9810 4.4), when its root took the place of another. */
  crossCertificates: Certificate[];
  state: CaGenerationState;
};

/** Whom the gateway trusts and asks others to trust, at one moment. */
export type CaTrust = {
  trustDomain: string;
  /** Rises with every change of what devices are to trust, also across a restore of the database. */
  version: number;
  /** Oldest first; one is active. */
  issuers: CaIssuer[];
  active: CaIssuer;
};

const KNOWN: readonly CaGenerationState[] = ['announced', 'active', 'superseded', 'tainted'];

/** Told to everybody and not taken back: what these certify is let in. The active one first. */
export function acceptedIssuers({ issuers, active }: CaTrust): CaIssuer[] {
  return [active, ...issuers.filter((issuer) => issuer !== active && KNOWN.includes(issuer.state))];
}

/** Roots that devices are to trust now, that of the active issuer first. */
export function anchorsOf(trust: CaTrust): Certificate[] {
  return distinct(acceptedIssuers(trust).map(({ root }) => root));
}

/** Of these, the roots that are still trusted once what was replaced is retired. */
export function lastingAnchorsOf(trust: CaTrust): Certificate[] {
  const lasting = acceptedIssuers(trust).filter(({ state }) => state === 'active' || state === 'announced');
  return distinct(lasting.map(({ root }) => root));
}

/** The links between roots that are both trusted: of no use to those who know one of them alone, and no harm. */
export function linksOf(trust: CaTrust): Certificate[] {
  const anchors = anchorsOf(trust);
  const isAnchor = (key: Buffer) => anchors.some(({ publicKey }) => publicKey.equals(key));
  return distinct(acceptedIssuers(trust).flatMap(({ crossCertificates }) => crossCertificates)).filter(
    (link) => isAnchor(link.publicKey) && anchors.some((anchor) => verifyCertificateSignature(link, anchor.publicKey)),
  );
}

/**
 * What stands above a certificate of ours when it is shown: its issuer, then NewWithOld for every root before that is
 * still trusted, so that those who have not heard of the new one find the way from what they know.
 * @param issuerKeyId of the certificate; unknown: of the active issuer
 */
export function chainAbove(trust: CaTrust, issuerKeyId: string | undefined): Certificate[] {
  const issuer = trust.issuers.find(({ keyId }) => keyId === issuerKeyId) ?? trust.active;
  const anchors = anchorsOf(trust);
  const chain = [issuer.certificate];
  for (let { root } = issuer; ; ) {
    const link = newWithOldOf(trust, root);
    const before = link && anchors.find(({ publicKey }) => verifyCertificateSignature(link, publicKey));
    if (link === undefined || before === undefined || chain.includes(link)) return chain;
    chain.push(link);
    root = before;
  }
}

/** OldWithNew stands beside it and certifies the other key. */
function newWithOldOf({ issuers }: CaTrust, root: Certificate): Certificate | undefined {
  const ofRoot = issuers.filter((issuer) => issuer.root.publicKey.equals(root.publicKey));
  return ofRoot
    .flatMap(({ crossCertificates }) => crossCertificates)
    .find((link) => link.publicKey.equals(root.publicKey));
}

/** All that may be needed to find the way from a certificate of this issuer to an anchor, nearest first. */
export function certificatesAbove(trust: CaTrust, issuerKeyId: string | undefined): Certificate[] {
  const others = acceptedIssuers(trust).map(({ certificate }) => certificate);
  return distinct([...chainAbove(trust, issuerKeyId), ...anchorsOf(trust), ...linksOf(trust), ...others]);
}

/** For `/cacerts` (RFC 7030 4.1.3): beside the issuer in use and its root. */
export function rolloverCertificates(trust: CaTrust): Certificate[] {
  const others = acceptedIssuers(trust).slice(1);
  const all = distinct([...others.flatMap(({ certificate, root }) => [certificate, root]), ...linksOf(trust)]);
  return all.filter(({ sha256 }) => sha256 !== trust.active.root.sha256);
}

/** Fingerprints in one order, as a device's record keeps them. */
export function formatAnchors(sha256s: readonly string[]): string {
  return [...new Set(sha256s)].toSorted().join(' ');
}

export function parseAnchors(text: string): string[] {
  return text === '' ? [] : text.split(' ');
}

/** Where an authority tells of one issuer alone, that is all there is. */
export type DescribedIssuer = {
  certificate: Uint8Array;
  root: Uint8Array;
  crossCertificates: readonly Uint8Array[];
  isActive: boolean;
};

/** @param stateOf of the issuer with this key id */
export function readCaTrust(
  described: { trustDomain: string; version: number; issuers: readonly DescribedIssuer[] },
  stateOf: (keyId: string) => CaGenerationState,
): CaTrust {
  const { trustDomain, version } = described;
  const issuers = described.issuers.map(({ certificate, root, crossCertificates }): CaIssuer => {
    const parsed = parseCertificate(certificate);
    const keyId = parsed.subjectKeyId ?? '';
    return {
      keyId,
      certificate: parsed,
      root: parseCertificate(root),
      crossCertificates: crossCertificates.map((der) => parseCertificate(der)),
      state: stateOf(keyId),
    };
  });
  const active = issuers[described.issuers.findIndex(({ isActive }) => isActive)];
  if (active === undefined) throw new Error('the authority has no issuer in use');
  return { trustDomain, version, issuers, active };
}

function distinct(certificates: readonly Certificate[]): Certificate[] {
  return [...new Map(certificates.map((certificate) => [certificate.sha256, certificate])).values()];
}
