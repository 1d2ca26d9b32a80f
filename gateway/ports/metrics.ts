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
}
