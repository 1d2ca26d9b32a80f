import type { SerialNumber } from '#ca/ports/issuance-order.ts';

export interface Randomness {
  serialNumber(): SerialNumber;
  /** `prefix-` and 16 hexadecimal digits. */
  id(prefix: string): string;
  /** n cryptographically random bytes. */
  bytes(n: number): Buffer;
}
