import type { KeyObject } from 'node:crypto';
import { formatCompactJws } from '#ca/pkix/compact-jws.ts';
import { NOTICE_JWS_TYPE } from '#gateway/contract/notice.ts';
import { TIME_JWS_TYPE } from '#gateway/contract/signed-time.ts';
import type { NoticeSigner } from '#gateway/ports/notice-signer.ts';
import type { TimeSigner } from '#gateway/ports/time-signer.ts';

export type NoticeSignerMaterial = {
  privateKey: KeyObject;
  /** DER: the notice-signer certificate and its issuer. */
  certificates: readonly Uint8Array[];
};

/**
 * Signs notices and statements of time with a key on disk. `material` is asked each time, so that a renewed certificate
 * is used at once.
 */
export function createNoticeSigner(material: () => NoticeSignerMaterial): NoticeSigner & TimeSigner {
  const sign = (type: string, payload: unknown) => {
    const { privateKey, certificates } = material();
    return formatCompactJws({ payload, type, certificates: [...certificates], privateKey });
  };
  return {
    certificate: () => material().certificates[0] ?? new Uint8Array(),
    sign: (notice) => sign(NOTICE_JWS_TYPE, notice),
    signTime: (statement) => sign(TIME_JWS_TYPE, statement),
  };
}
