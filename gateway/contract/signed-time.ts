/**
 * The gateway's time for a device whose clock may be wrong: a compact JWS (RFC 7515; ES256, `x5c` = notice-signer
 * certificate and its issuer) over this JSON. The nonce is the device's own, so that it was made after it was asked for.
 */
export type TimeStatement = {
  version: 1;
  nonce: string;
  /** Milliseconds UTC by the gateway's clock. */
  time: number;
};

/** Of the request for the directory: who sends a nonce gets a signed time with the answer. */
export const TIME_NONCE_HEADER = 'Gatehouse-Nonce';

/** JWS `typ`: a notice is no statement of time, nor the other way round (RFC 8725 3.11). */
export const TIME_JWS_TYPE = 'gatehouse-time+jws';

/** 16 to 64 characters of base64url. */
export function isTimeNonce(value: unknown): value is string {
  return typeof value === 'string' && /^[A-Za-z0-9_-]{16,64}$/.test(value);
}

/** @returns undefined when it is none that this version understands. Unknown fields are ignored. */
export function parseTimeStatement(value: unknown): TimeStatement | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { version, nonce, time } = value as Record<string, unknown>;
  if (version !== 1 || !isTimeNonce(nonce)) return undefined;
  if (typeof time !== 'number' || !Number.isSafeInteger(time) || time < 0) return undefined;
  return { version: 1, nonce, time };
}
