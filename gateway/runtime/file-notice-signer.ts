import type { KeyObject } from 'node:crypto';
import { formatCompactJws } from '#ca/pkix/compact-jws.ts';
import { NOTICE_JWS_TYPE } from '#gateway/contract/notice.ts';
import type { NoticeSigner } from '#gateway/ports/notice-signer.ts';

export type NoticeSignerMaterial = {
  privateKey: KeyObject;
  /** DER: the notice-signer certificate and its issuer. */
  certificates: readonly Uint8Array[];
};

/** Signs notices with a key on disk. `material` is asked each time, so that a renewed certificate is used at once. */
export function createNoticeSigner(material: () => NoticeSignerMaterial): NoticeSigner {
  return {
    sign: (notice) => {
      const { privateKey, certificates } = material();
      return formatCompactJws({ payload: notice, type: NOTICE_JWS_TYPE, certificates: [...certificates], privateKey });
    },
  };
}
