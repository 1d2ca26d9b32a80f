import type { Tables } from '#gateway/ports/store.ts';

/** Whether a certificate with this key, of whatever device, was revoked because the key is in other hands. */
export async function isCompromised(
  { certificates }: Pick<Tables, 'certificates'>,
  spkiSha256: string,
): Promise<boolean> {
  const same = await certificates.listByKey(spkiSha256);
  return same.some(({ revocationReason }) => revocationReason === 'keyCompromise');
}
