import type { DeviceId } from '#gateway/contract/device-id.ts';

/** A maker's CA certificate that an operator pinned. */
export type TpmRoot = {
  /** Of the DER, lower-case hexadecimal. */
  sha256: string;
  /** Of the subject's DER: by this a path finds its issuers. */
  subjectSha256: string;
  /** A root is trusted; an intermediate only helps to find the way to one. */
  kind: 'root' | 'intermediate';
  der: Buffer;
  note: string | null;
  addedAt: number;
};

/** An EK that counts as endorsed without a maker's certificate, because the operator knows where it came from. */
export type AllowedEk = {
  /** SHA-256 of the SubjectPublicKeyInfo, lower-case hexadecimal. */
  ekSha256: string;
  note: string | null;
  /** Good for this device only; null: for any. */
  deviceId: DeviceId | null;
  addedAt: number;
};
