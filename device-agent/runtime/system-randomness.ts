import { randomBytes } from 'node:crypto';
import type { Randomness } from '#device-agent/ports/randomness.ts';

export const systemRandomness: Randomness = {
  fraction: () => randomBytes(4).readUInt32BE() / 2 ** 32,
  bytes: (count) => randomBytes(count),
};
