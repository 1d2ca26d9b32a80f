import { type Certificate, parseCertificate, verifyCertificateSignature } from '#ca/pkix/certificate.ts';
import type { TrustBody } from '#gateway/contract/notice.ts';

/** `trust.json`: what makes an old list of anchors harmless. The anchors themselves are `trust.pem`. */
export type TrustMemory = {
  version: 1;
  /** Highest number obeyed. */
  trustVersion: number;
};

export const NO_TRUST_MEMORY: TrustMemory = { version: 1, trustVersion: 0 };

export function parseTrustMemory(value: unknown): TrustMemory {
  if (typeof value !== 'object' || value === null) return NO_TRUST_MEMORY;
  const { version, trustVersion } = value as Record<string, unknown>;
  if (version !== 1 || typeof trustVersion !== 'number' || !Number.isSafeInteger(trustVersion)) return NO_TRUST_MEMORY;
  return { version: 1, trustVersion };
}

export type TrustChange =
  | { kind: 'none'; detail: string }
  /** What is said cannot be followed, whoever signed it. */
  | { kind: 'refuse'; detail: string }
  /**
   * `anchors`: all that are trusted from now on, DER. `vouching`: those of now that stay; the notice must be signed under
   * one of them.
   */
  | { kind: 'change'; anchors: Buffer[]; vouching: Buffer[]; added: string[]; dropped: string[] };

/**
 * What a trust notice would change. Whether it may is for its signature to say: an anchor is dropped only on the word of
 * one that stays, so that whoever got hold of an old root cannot push out its successor.
 * @param current DER
 */
export function decideTrust(body: TrustBody, current: readonly Buffer[], memory: TrustMemory): TrustChange {
  if (body.version < memory.trustVersion) return { kind: 'none', detail: 'a newer list is in use' };
  const wanted: Certificate[] = [];
  for (const text of body.anchors) {
    const anchor = readAnchor(text);
    if (anchor === undefined) return { kind: 'refuse', detail: 'one of the anchors is not the certificate of a root' };
    wanted.push(anchor);
  }
  const before = current.map((der) => parseCertificate(der));
  const stays = ({ sha256 }: Certificate) => wanted.some((other) => other.sha256 === sha256);
  const isNew = ({ sha256 }: Certificate) => !before.some((other) => other.sha256 === sha256);
  const vouching = before.filter(stays).map(({ der }) => der);
  if (vouching.length === 0) return { kind: 'refuse', detail: 'it names no anchor that this device knows' };
  const added = wanted.filter(isNew).map(({ sha256 }) => sha256);
  const dropped = before.filter((anchor) => !stays(anchor)).map(({ sha256 }) => sha256);
  if (added.length === 0 && dropped.length === 0 && body.version === memory.trustVersion)
    return { kind: 'none', detail: 'in use already' };
  return { kind: 'change', anchors: wanted.map(({ der }) => der), vouching, added, dropped };
}

/** Self-signed, and a CA: anything else as an anchor would be trusted for more than its issuer gave it. */
function readAnchor(text: string): Certificate | undefined {
  try {
    const certificate = parseCertificate(Buffer.from(text, 'base64'));
    const { isCa, subject, issuer, publicKey } = certificate;
    const isRoot = isCa && subject.equals(issuer) && verifyCertificateSignature(certificate, publicKey);
    return isRoot ? certificate : undefined;
  } catch {
    return undefined;
  }
}
