import type { TimeStatement } from '#gateway/contract/signed-time.ts';

export interface TimeSigner {
  /** @returns a compact JWS (ES256, x5c: the notice-signer certificate and its issuer). */
  signTime(statement: TimeStatement): string;
}
