import { afterEach, describe, expect, test, vi } from 'vitest';
import { systemClock } from '#device-agent/runtime/system-clock.ts';
import { startKeeper } from '#test/fixtures/device-agent/started-keeper.ts';

afterEach(() => void vi.useRealTimers());

describe('renewal and the clock', () => {
  test('looks at the clock again at least every 30 seconds, however far the moment is', async () => {
    const { clock, keeper } = await startKeeper(365 * 86_400);
    for (let round = 0; round < 5; round += 1) await clock.run(30_000);
    expect(Math.max(...clock.waits)).toBeLessThanOrEqual(30_000);
    await keeper.stop();
  });

  test('renews within one look after the clock jumped over the moment', async () => {
    const { clock, keeper, renewals } = await startKeeper(3600);
    await clock.run(30_000);
    expect(renewals).toEqual([]);
    clock.wall += 2000_000;
    await clock.run(30_000);
    expect(renewals).toHaveLength(1);
    await keeper.stop();
  });

  test('renews by uptime when the clock fell back to 1970', async () => {
    const { clock, keeper, renewals, certificate } = await startKeeper(3600);
    clock.wall = 0;
    while (renewals.length === 0 && clock.uptime < 3600_000) await clock.run(30_000);
    const half = (certificate.notAfter - certificate.notBefore) / 2;
    expect(renewals[0]).toBeGreaterThan(half * 0.95);
    expect(renewals[0]).toBeLessThan(half * 1.05 + 60_000);
    await keeper.stop();
  });

  test('does not renew in a circle when the clock is years ahead', async () => {
    const { clock, keeper, renewals } = await startKeeper(3600);
    clock.wall += 5 * 365 * 86_400_000;
    for (let round = 0; round < 20; round += 1) await clock.run(30_000);
    expect(renewals).toHaveLength(1);
    await keeper.stop();
  });

  test('waits longer than one timer can hold without firing at once', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    const ms = 2 ** 31 + 10_000;
    let done = false;
    const waiting = (async () => {
      await systemClock.wait(ms);
      done = true;
    })();
    await vi.advanceTimersByTimeAsync(2 ** 31);
    expect(done).toBe(false);
    await vi.advanceTimersByTimeAsync(10_001);
    await waiting;
    expect(done).toBe(true);
  });
});
