import type { Notice } from '#gateway/contract/notice.ts';

export interface NoticeSigner {
  /** @returns a compact JWS (ES256, x5c: the notice-signer certificate and its issuer). */
  sign(notice: Notice): string;
  /** DER: what it signs with now; left out: it never changes. A notice under another one is signed anew before it is sent. */
  certificate?(): Uint8Array;
}
