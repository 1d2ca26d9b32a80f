/**
 * A key as people compare it, on the screen of the device and in the gateway's list of waiting enrollments: the first
 * 16 hexadecimal digits of the SHA-256 of its SubjectPublicKeyInfo, in groups of four.
 */
export function formatKeyFingerprint(spkiSha256: string): string {
  return (spkiSha256.slice(0, 16).match(/.{1,4}/g) ?? []).join(' ');
}
