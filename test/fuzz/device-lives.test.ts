import * as fc from 'fast-check';
import { expect, it, vi } from 'vitest';
import { DEVICES, DeviceLives, HAPPENINGS, type Step } from '#test/fixtures/gateway/device-lives.ts';
import { FUZZ_FACTOR, holdsForAsync } from './fuzz-runs.ts';

// Each run is a gateway with its database, and some hundred transactions.
vi.setConfig({ testTimeout: 300_000 * FUZZ_FACTOR });

const step: fc.Arbitrary<Step> = fc.record({
  what: fc.constantFrom(...HAPPENINGS),
  device: fc.constantFrom(...DEVICES),
  which: fc.nat({ max: 5 }),
});

it('whatever devices and operators do in whatever order: who is revoked or replaced stays out, the others get in', async () => {
  await holdsForAsync(3, fc.array(step, { minLength: 40, maxLength: 60 }), async (steps) => {
    const lives = await DeviceLives.open();
    try {
      for (const each of steps) expect(await lives.take(each)).toEqual([]);
      expect(await lives.end()).toEqual([]);
    } finally {
      await lives.close();
    }
  });
});
