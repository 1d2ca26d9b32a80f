import { randomBytes } from 'node:crypto';
import type { Randomness } from '#device-agent/ports/randomness.ts';

export const systemRandomness: Randomness = {
  fraction: () => Math.random(),
  bytes: (count) => randomBytes(count),
};
