import 'reflect-metadata';
import * as x509 from '@peculiar/x509';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { parseCertificate } from '#ca/pkix/certificate.ts';
import { softwareKeys } from '#device-agent/keys/software-keys.ts';
import { FactBook } from '#device-agent/operations/fact-book.ts';
import type { Identity } from '#device-agent/operations/identity.ts';
import { NoticeInbox } from '#device-agent/operations/notice-inbox.ts';
import { RenewalKeeper } from '#device-agent/operations/renewal-keeper.ts';
import { TimeKeeper } from '#device-agent/operations/time-keeper.ts';
import { silentLog } from '#device-agent/runtime/json-log.ts';
import { systemClock } from '#device-agent/runtime/system-clock.ts';
import { MemoryStateStore } from '#device-agent/state/memory-state-store.ts';
import { parseDeviceId } from '#gateway/contract/device-id.ts';
import { TestAuthority } from '#test/fixtures/device-agent/test-authority.ts';

afterEach(() => void vi.useRealTimers());

/** Time stands until it is moved; waits are written down and end when their time has come. */
class HandClock {
  wall = Date.now();
  uptime = 0;
  readonly waits: number[] = [];
  readonly #sleepers = new Set<{ until: number; wake: () => void }>();
  #onWait: (() => void) | undefined;

  now(): number {
    return this.wall;
  }

  monotonic(): number {
    return this.uptime;
  }

  wait(ms: number, signal?: AbortSignal): Promise<void> {
    this.waits.push(ms);
    this.#onWait?.();
    return new Promise((resolve) => {
      const sleeper = { until: this.uptime + ms, wake: resolve };
      this.#sleepers.add(sleeper);
      signal?.addEventListener('abort', () => resolve(), { once: true });
    });
  }

  /** The machine runs for a while; the next wait has begun when this resolves. */
  async run(ms: number): Promise<void> {
    const next = new Promise<void>((resolve) => {
      this.#onWait = resolve;
    });
    this.uptime += ms;
    this.wall += ms;
    for (const sleeper of this.#sleepers) {
      if (sleeper.until > this.uptime) continue;
      this.#sleepers.delete(sleeper);
      sleeper.wake();
    }
    await next;
  }
}

async function startKeeper(lifeSeconds: number) {
  const authority = await TestAuthority.create();
  const key = await softwareKeys.generate('ec-p256');
  const issued = await authority.issueDevice(new x509.PublicKey(key.publicKey), 'pump-17', {
    life: lifeSeconds,
    age: 0,
  });
  const certificate = parseCertificate(issued.der);
  const identity: Identity = {
    generation: 1,
    key,
    certificate,
    certificates: [issued.der],
    meta: { version: 1, keyKind: 'ec-p256', createdAt: 0 },
  };
  const clock = new HandClock();
  const store = new MemoryStateStore();
  const deps = {
    store,
    clock,
    log: silentLog,
    randomness: { fraction: () => 0, bytes: (n: number) => Buffer.alloc(n) },
  };
  const time = await TimeKeeper.open(deps);
  await time.learn(certificate.notBefore, certificate.notAfter);
  const inbox = await NoticeInbox.open(
    { ...deps, time, facts: await FactBook.open(deps) },
    {
      config: { deviceId: parseDeviceId('pump-17') } as never,
      anchors: [],
      currentSerial: () => certificate.serial,
      sendAck: async () => {},
      onOrder: () => {},
      onRevoked: () => {},
    },
  );
  const renewals: number[] = [];
  const keeper = new RenewalKeeper(
    { ...deps, time, inbox },
    {
      identity: () => identity,
      renew: async () => {
        renewals.push(clock.uptime);
        return { oldSerial: certificate.serial, newSerial: certificate.serial };
      },
      onRenewed: async () => {},
      onFailed: async () => {},
      onPlanned: () => {},
    },
    { interrupted: false },
  );
  keeper.start();
  return { clock, keeper, renewals, certificate };
}

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
