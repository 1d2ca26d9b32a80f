import type { GatewayErrorCode } from '#gateway/domain/gateway-error.ts';

/** What the operations count; the names at /metrics are the adapter's business. */
export interface Metrics {
  enrollment(
    kind: 'enroll' | 'reenroll' | 'challenge',
    outcome: 'issued' | 'given-again' | 'challenged' | GatewayErrorCode,
    seconds: number,
  ): void;
  /** `code` is a GatewayErrorCode, or what TLS said before there was a session. */
  session(outcome: string): void;
  sessionEnded(reason: string): void;
  revocation(seconds: number, sessionsClosed: number): void;
  notice(event: 'queued' | 'sent' | 'received' | 'done' | 'failed'): void;
  crlSigned(entries: number, seconds: number): void;
  /** A CRL could not be made; the last one stays in force. */
  crlFailed(): void;
  /** `outcome`: good, revoked, unknown, several, or the name of an OCSP error. */
  ocspAnswered(outcome: string, isKept: boolean): void;
  /** A sign that an identity is in two places; `kind` as in its alarm. */
  identityAlarm(kind: string): void;
}
