/**
 * What the gateway tells a device: a compact JWS (RFC 7515; ES256, `x5c` = notice-signer certificate and its issuer)
 * over this JSON. `seq` only rises per device (per fleet for fleet notices), so an old notice cannot be played again.
 */
export type Notice = {
  version: 1;
  id: string;
  /** The device it is for, or '*' for a fleet notice. */
  deviceId: string;
  seq: number;
  /** Milliseconds UTC. */
  issuedAt: number;
  /** Milliseconds UTC; past it the agent answers `failed` and does nothing. */
  expiresAt: number;
} & NoticeBody;

/**
 * What a device is to trust from now on: what is not named any more is dropped. Per device, and for the fleet retained on
 * `v1/fleet/trust`. Signed under an anchor that stays: whoever holds a dropped one alone cannot drop the others.
 */
export type TrustBody = {
  /** Rises with every change, over both ways: a lower one than the highest obeyed is not obeyed. */
  version: number;
  /** Root certificates, base64 of the DER. */
  anchors: string[];
  /** CAs below them and links between them, base64 of the DER: to find paths, nothing is trusted by standing here. */
  intermediates: string[];
};

const MAX_TRUST_ANCHORS = 8;
const MAX_TRUST_INTERMEDIATES = 24;

export type NoticeBody =
  | { kind: 'renew'; body: RenewBody }
  | { kind: 'revoked'; body: RevokedBody }
  | { kind: 'revocations'; body: RevocationsBody }
  | { kind: 'attest'; body: AttestBody }
  | { kind: 'quarantine'; body: QuarantineBody }
  | { kind: 'trust'; body: TrustBody }
  | { kind: 'time'; body: TimeBody };

export type NoticeKind = NoticeBody['kind'];

export type RenewBody = {
  /** The serial to replace; an agent that has another one already answers `done`. */
  serial: string;
  /** Milliseconds UTC; an end in the past means now (checklist F3). */
  suggestedWindow: { start: number; end: number };
  reason: string;
  /** True: a new key is required; false: a new key is still the agent's habit for software keys. */
  rekey: boolean;
  /**
   * Not an order but the gateway's plan: this window takes the place of the one that was told before, and `done` says that it
   * was noted. An agent that does not know this field takes it for an order, and renews in the window all the same.
   */
  planned?: true;
};

/** Milliseconds UTC by the gateway's clock: sent at once or not at all, over a session that is verified. */
type TimeBody = { time: number };

export type RevokedBody = { serials: string[]; reason: string; advice: string };

/** The device is to prove again that its key lives in its TPM: the copy of its files cannot. Nonce: base64url. */
export type AttestBody = { nonce: string; reason: string };

/** `active`: only identity topics remain to this device, its telemetry is dropped; else: it is as before. */
type QuarantineBody = { active: boolean; reason: string };

/**
 * Fleet notice, retained on `v1/fleet/revocations`: what was revoked and released, newest first. In the order of
 * (`crlNumber`, `seq`) a later one takes the place of an earlier one, also across a restore of the gateway.
 */
export type RevocationsBody = {
  /** Of the newest CRL behind `crlUrl`, which holds every revocation up to a moment shortly before. */
  crlNumber: number;
  /** Of the newest change told here; only rises while the CRL number stays. */
  seq: number;
  /** True: `entries` are all revocations in force, and what is not among them is not revoked. */
  full: boolean;
  /** `entries` hold every change after this one: whoever knows up to here, or later, needs no CRL. 0 when full. */
  since: number;
  entries: RevocationsEntry[];
  crlUrl: string;
  /**
   * The newest complete CRL of each issuer whose certificates may still be valid, the one in use first, which is the one
   * above; then that of each root, which tells of the issuers. Left out by gateways that know of one only, and while one is
   * missing: who is not named is taken off devices.
   */
  issuers?: IssuerCrl[];
};

/** `keyId`: subject key id of the issuer, lower-case hexadecimal. */
export type IssuerCrl = { keyId: string; crlNumber: number; crlUrl: string };

/** More issuers than an authority has in use at once, by far. */
export const MAX_CRL_ISSUERS = 8;

/** Serial (lower-case hexadecimal), reason code (RFC 5280 5.3.1; 8, removeFromCRL: released again), seconds UTC. */
export type RevocationsEntry = [serial: string, reasonCode: number, at: number];

/** Octets of a whole fleet notice as it goes over the wire, well below the 64 KiB of a packet: newest entries that fit. */
export const MAX_FLEET_NOTICE_BYTES = 48 * 1024;

/** JWS `typ`: a token made for another purpose by the same key is not a notice (RFC 8725 3.11). */
export const NOTICE_JWS_TYPE = 'gatehouse-notice+jws';

/** @returns undefined when it is not a notice this version understands. Unknown fields are ignored. */
export function parseNotice(value: unknown): Notice | undefined {
  if (!isRecord(value) || value['version'] !== 1) return undefined;
  const { id, deviceId, seq, issuedAt, expiresAt, kind, body } = value;
  if (typeof id !== 'string' || id.length > 64 || typeof deviceId !== 'string') return undefined;
  if (!isCount(seq) || !isCount(issuedAt) || !isCount(expiresAt) || !isRecord(body)) return undefined;
  const head = { version: 1 as const, id, deviceId, seq, issuedAt, expiresAt };
  if (kind === 'renew') {
    const { serial, suggestedWindow, reason, rekey, planned } = body;
    if (typeof serial !== 'string' || !isRecord(suggestedWindow) || typeof reason !== 'string') return undefined;
    const { start, end } = suggestedWindow;
    if (!isCount(start) || !isCount(end)) return undefined;
    const renew = { serial, suggestedWindow: { start, end }, reason, rekey: rekey === true };
    return { ...head, kind, body: planned === true ? { ...renew, planned } : renew };
  }
  if (kind === 'revoked') {
    const { serials, reason, advice } = body;
    if (!isListOf(serials, (s) => typeof s === 'string') || typeof reason !== 'string') return undefined;
    return { ...head, kind, body: { serials, reason, advice: typeof advice === 'string' ? advice : '' } };
  }
  if (kind === 'attest') {
    const { nonce, reason } = body;
    if (typeof nonce !== 'string' || !/^[A-Za-z0-9_-]{22,86}$/.test(nonce)) return undefined;
    return { ...head, kind, body: { nonce, reason: typeof reason === 'string' ? reason : '' } };
  }
  if (kind === 'quarantine') {
    const { active, reason } = body;
    if (typeof active !== 'boolean' || typeof reason !== 'string') return undefined;
    return { ...head, kind, body: { active, reason } };
  }
  if (kind === 'trust') {
    const trust = parseTrustBody(body);
    return trust && { ...head, kind, body: trust };
  }
  if (kind === 'time') {
    const { time } = body;
    return isCount(time) ? { ...head, kind, body: { time } } : undefined;
  }
  if (kind === 'revocations') {
    const revocations = parseRevocationsBody(body);
    return revocations && { ...head, kind, body: revocations };
  }
  return undefined;
}

function parseRevocationsBody(body: Record<string, unknown>): RevocationsBody | undefined {
  const { crlNumber, seq, full, since, entries, crlUrl, issuers } = body;
  if (!isCount(crlNumber) || !isCount(seq) || typeof full !== 'boolean' || !isCount(since)) return undefined;
  if (typeof crlUrl !== 'string' || crlUrl.length > 2048 || !isListOf(entries, isRevocationsEntry)) return undefined;
  const told = { crlNumber, seq, full, since, entries: entries.map(copyEntry), crlUrl };
  if (issuers === undefined) return told;
  if (!isListOf(issuers, isIssuerCrl) || issuers.length === 0 || issuers.length > MAX_CRL_ISSUERS) return undefined;
  return { ...told, issuers: issuers.map(({ keyId, crlNumber, crlUrl }) => ({ keyId, crlNumber, crlUrl })) };
}

function copyEntry([serial, code, at]: RevocationsEntry): RevocationsEntry {
  return [serial, code, at];
}

function isIssuerCrl(value: unknown): value is IssuerCrl {
  if (!isRecord(value)) return false;
  const { keyId, crlNumber, crlUrl } = value;
  // It names a file on the device.
  if (typeof keyId !== 'string' || !/^[0-9a-f]{2,128}$/.test(keyId)) return false;
  return isCount(crlNumber) && typeof crlUrl === 'string' && crlUrl.length <= 2048;
}

function isRevocationsEntry(value: unknown): value is RevocationsEntry {
  if (!Array.isArray(value)) return false;
  const [serial, code, at] = value as unknown[];
  return typeof serial === 'string' && /^[0-9a-f]{1,40}$/.test(serial) && isCount(code) && code <= 10 && isCount(at);
}

function parseTrustBody({ version, anchors, intermediates }: Record<string, unknown>): TrustBody | undefined {
  if (!isCount(version) || !isListOf(anchors, isBase64) || !isListOf(intermediates, isBase64)) return undefined;
  if (anchors.length === 0 || anchors.length > MAX_TRUST_ANCHORS) return undefined;
  return intermediates.length > MAX_TRUST_INTERMEDIATES ? undefined : { version, anchors, intermediates };
}

function isBase64(value: unknown): value is string {
  return typeof value === 'string' && value.length <= 16_384 && /^[A-Za-z0-9+/]+={0,2}$/.test(value);
}

function isListOf<T>(value: unknown, isItem: (item: unknown) => item is T): value is T[] {
  return Array.isArray(value) && value.every(isItem);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}
