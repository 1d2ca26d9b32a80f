import type { Notice } from '#gateway/contract/notice.ts';

export interface NoticeSigner {
  /** @returns a compact JWS (ES256, x5c: the notice-signer certificate and its issuer). */
  sign(notice: Notice): string;
}
