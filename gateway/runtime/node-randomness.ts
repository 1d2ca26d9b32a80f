import { randomBytes } from 'node:crypto';
import { formatSerialNumber } from '#ca/pkix/serial-number.ts';
import type { Randomness } from '#gateway/ports/randomness.ts';

export const nodeRandomness: Randomness = {
  serialNumber: () => formatSerialNumber(randomBytes(16)),
  id: (prefix) => `${prefix}-${randomBytes(8).toString('hex')}`,
  bytes: (n) => randomBytes(n),
};
