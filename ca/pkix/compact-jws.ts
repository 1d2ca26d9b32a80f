import type { KeyObject } from 'node:crypto';
import { sign, verify } from 'node:crypto';
import { PkixError } from './pkix-error.ts';
import { importPublicKey } from './public-key.ts';

export type CompactJws = {
  /** `x5c`: DER, leaf first; not trusted by being here. */
  header: { alg: 'ES256'; typ: string; x5c: Buffer[] };
  payload: unknown;
  signingInput: Buffer;
  signature: Buffer;
};

const MAX_JWS_CHARACTERS = 64 * 1024;
const MAX_X5C = 4;

/** Compact serialization (RFC 7515 7.1), ES256 (RFC 7518 3.4). @param type the `typ` (RFC 8725 3.11). */
export function formatCompactJws(jws: {
  payload: unknown;
  type: string;
  /** DER, leaf first. */
  certificates: Uint8Array[];
  /** P-256. */
  privateKey: KeyObject;
}): string {
  // RFC 7515 4.1.6: x5c is base64, not base64url.
  const x5c = jws.certificates.map((der) => Buffer.from(der.buffer, der.byteOffset, der.byteLength).toString('base64'));
  const header = base64url(JSON.stringify({ alg: 'ES256', typ: jws.type, x5c }));
  const signingInput = `${header}.${base64url(JSON.stringify(jws.payload))}`;
  const key = { key: jws.privateKey, dsaEncoding: 'ieee-p1363' as const };
  return `${signingInput}.${sign('sha256', Buffer.from(signingInput, 'latin1'), key).toString('base64url')}`;
}

function base64url(text: string): string {
  return Buffer.from(text, 'utf8').toString('base64url');
}

/**
 * Nothing is verified yet: see verifyCompactJws, and validate the path of `x5c`.
 * @throws PkixError MALFORMED, or UNSUPPORTED for another algorithm or critical header fields (RFC 7515 4.1.11).
 */
export function parseCompactJws(text: string): CompactJws {
  if (text.length > MAX_JWS_CHARACTERS) throw new PkixError('MALFORMED', 'the JWS is too large');
  const [protectedHeader, payload, signature, tooMany] = text.split('.');
  if (protectedHeader === undefined || payload === undefined || signature === undefined || tooMany !== undefined) {
    throw new PkixError('MALFORMED', 'a compact JWS has three parts');
  }
  const header = parseJson(protectedHeader);
  if (typeof header !== 'object' || header === null || Array.isArray(header))
    throw new PkixError('MALFORMED', 'the JWS header is no object');
  const { alg, typ, x5c, crit } = header as Record<string, unknown>;
  if (alg !== 'ES256' || crit !== undefined)
    throw new PkixError('UNSUPPORTED', 'the JWS asks for what is not done here');
  if (typeof typ !== 'string' || !Array.isArray(x5c) || x5c.length === 0 || x5c.length > MAX_X5C) {
    throw new PkixError('MALFORMED', 'the JWS header lacks typ or x5c');
  }
  return {
    header: { alg, typ, x5c: x5c.map(parseX5cItem) },
    payload: parseJson(payload),
    signingInput: Buffer.from(`${protectedHeader}.${payload}`, 'latin1'),
    signature: decode(signature),
  };
}

function parseX5cItem(item: unknown): Buffer {
  if (typeof item !== 'string' || item.length % 4 !== 0 || !/^[A-Za-z0-9+/]+={0,2}$/.test(item)) {
    throw new PkixError('MALFORMED', 'x5c is not base64');
  }
  return Buffer.from(item, 'base64');
}

function decode(part: string): Buffer {
  const bytes = Buffer.from(part, 'base64url');
  // Node skips what is not base64url; then the text is not the one and only way to write these bytes.
  if (part === '' || bytes.toString('base64url') !== part)
    throw new PkixError('MALFORMED', 'a JWS part is not base64url');
  return bytes;
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function parseJson(part: string): unknown {
  const bytes = decode(part);
  try {
    return JSON.parse(utf8.decode(bytes));
  } catch (cause) {
    throw new PkixError('MALFORMED', 'a JWS part is not JSON', { cause });
  }
}

/** False for a wrong signature and for a key that is not P-256. */
export function verifyCompactJws(jws: CompactJws, publicKeySpki: Uint8Array): boolean {
  try {
    const key = importPublicKey(publicKeySpki);
    if (key.asymmetricKeyDetails?.namedCurve !== 'prime256v1') return false;
    return verify('sha256', jws.signingInput, { key, dsaEncoding: 'ieee-p1363' }, jws.signature);
  } catch {
    return false;
  }
}
