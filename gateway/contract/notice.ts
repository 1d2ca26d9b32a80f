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

export type NoticeBody =
  | { kind: 'renew'; body: RenewBody }
  | { kind: 'revoked'; body: RevokedBody }
  | { kind: 'revocations'; body: RevocationsBody };

export type NoticeKind = NoticeBody['kind'];

type RenewBody = {
  /** The serial to replace; an agent that has another one already answers `done`. */
  serial: string;
  /** Milliseconds UTC; an end in the past means now (checklist F3). */
  suggestedWindow: { start: number; end: number };
  reason: string;
  /** True: a new key is required; false: a new key is still the agent's habit for software keys. */
  rekey: boolean;
};

export type RevokedBody = { serials: string[]; reason: string; advice: string };

/** Fleet notice, retained on `v1/fleet/revocations`: the newest revocations; the CRL holds them all. */
type RevocationsBody = {
  crlNumber: number;
  /** Newest first, at most MAX_LISTED_REVOCATIONS. */
  revoked: { serial: string; reason: string; at: number }[];
  /** True when older ones were left out: fetch the CRL. */
  truncated: boolean;
};

/** Keeps the fleet notice under 48 KiB, well below the 64 KiB packet limit. */
export const MAX_LISTED_REVOCATIONS = 400;

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
    const { serial, suggestedWindow, reason, rekey } = body;
    if (typeof serial !== 'string' || !isRecord(suggestedWindow) || typeof reason !== 'string') return undefined;
    const { start, end } = suggestedWindow;
    if (!isCount(start) || !isCount(end)) return undefined;
    return { ...head, kind, body: { serial, suggestedWindow: { start, end }, reason, rekey: rekey === true } };
  }
  if (kind === 'revoked') {
    const { serials, reason, advice } = body;
    if (!isListOf(serials, (s) => typeof s === 'string') || typeof reason !== 'string') return undefined;
    return { ...head, kind, body: { serials, reason, advice: typeof advice === 'string' ? advice : '' } };
  }
  if (kind === 'revocations') {
    const { crlNumber, revoked, truncated } = body;
    if (!isCount(crlNumber) || !isListOf(revoked, isRevokedEntry)) return undefined;
    const known = revoked.map(({ serial, reason, at }) => ({ serial, reason, at }));
    return { ...head, kind, body: { crlNumber, revoked: known, truncated: truncated === true } };
  }
  return undefined;
}

function isRevokedEntry(value: unknown): value is RevocationsBody['revoked'][number] {
  return (
    isRecord(value) &&
    typeof value['serial'] === 'string' &&
    typeof value['reason'] === 'string' &&
    isCount(value['at'])
  );
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
