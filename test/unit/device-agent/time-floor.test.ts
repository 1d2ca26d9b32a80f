import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parseTimeFloor } from '#device-agent/domain/time-floor.ts';
import { TimeKeeper } from '#device-agent/operations/time-keeper.ts';
import { FileStateStore } from '#device-agent/state/file-state-store.ts';
import { enroll, memoryAgent } from '#test/fixtures/device-agent/memory-agent.ts';
import { RunningDevices } from '#test/fixtures/device-agent/running-devices.ts';
import { TestGateway } from '#test/fixtures/device-agent/test-gateway.ts';
import { temporaryFolder } from '#test/fixtures/processes/temporary-folder.ts';

const TEN_YEARS = 10 * 365 * 24 * 3600_000;

let gateway: TestGateway;
let devices: RunningDevices;
beforeEach(async () => {
  gateway = await TestGateway.start();
  devices = new RunningDevices();
});
afterEach(async () => {
  await devices.stopAll();
  await gateway.stop();
});

const floorOf = async ({ store }: Pick<ReturnType<typeof memoryAgent>, 'store'>) =>
  parseTimeFloor(await store.readRecord('time-floor')).floor;
/** As on a device without a battery. */
const bootedIn1970 = () => {
  const { clock } = memoryAgent();
  const boot = clock.monotonic();
  return { clock: { ...clock, now: () => Math.floor(clock.monotonic() - boot) } };
};

describe('the time floor', () => {
  test('is the latest of what is learned at the same moment, on the disk too', async () => {
    const folder = await temporaryFolder();
    try {
      const store = new FileStateStore(folder.path);
      const time = await TimeKeeper.open({ store, ...bootedIn1970() });
      const now = Date.now();
      await Promise.all([1, 2, 3, 4, 5].map((more) => time.learn(now + more, now + 3600_000)));
      expect(await floorOf({ store })).toBe(now + 5);
    } finally {
      await folder.remove();
    }
  });

  test('rises by what a certificate vouches for, not beyond its end', async () => {
    const deps = memoryAgent(bootedIn1970());
    const time = await TimeKeeper.open(deps);
    const now = Date.now();
    await time.learn(now, now + 1000);
    expect(await floorOf(deps)).toBe(now);
    await time.learn(now + TEN_YEARS, now + 3600_000);
    expect(await floorOf(deps)).toBe(now);
    await time.learn(now + 0.5, now + 3600_000);
    expect(await floorOf(deps)).toBe(now);
  });

  test('rises by a signed notice', async () => {
    const { deps, serial } = await devices.enrolled(gateway, bootedIn1970());
    const issuedAt = Date.now() + 300_000;
    const window = { start: issuedAt + 600_000, end: issuedAt + 900_000 };
    const body = { serial, suggestedWindow: window, reason: 'planned', rekey: false, planned: true } as const;
    const id = gateway.sendNotice({ kind: 'renew', body }, { issuedAt, expiresAt: issuedAt + 600_000 });
    await gateway.until(() => gateway.acks(id).includes('done'));
    expect(await floorOf(deps)).toBe(issuedAt);
  });

  test('is not spoilt by one signed notice with a wrong time', async () => {
    const { deps, serial, agent } = await devices.enrolled(gateway);
    const wrong = Date.now() + TEN_YEARS;
    const noticeId = gateway.renewNotice(serial, { issuedAt: wrong, expiresAt: wrong + 600_000 });
    await gateway.until(() => gateway.acks(noticeId).includes('done'));
    expect(await floorOf(deps)).toBeLessThan(Date.now() + 1000);
    expect(agent.status().state).toBe('enrolled');
  });

  test('is not spoilt by a gateway whose clock is wrong', async () => {
    gateway.toldTime = Date.now() + TEN_YEARS;
    const { deps, agent } = await devices.enrolled(gateway);
    expect(await floorOf(deps)).toBeLessThan(Date.now() + 1000);
    expect(agent.status().state).toBe('enrolled');
  });

  test('takes the time of a verified gateway when the clock says 1970', async () => {
    const before = Date.now();
    const deps = memoryAgent(bootedIn1970());
    await enroll(deps, gateway, { confirm: false });
    // notBefore of the own certificate lies a minute back.
    expect(await floorOf(deps)).toBeGreaterThanOrEqual(before);
  });

  test('gives status whole milliseconds', async () => {
    const { agent } = await devices.enrolled(gateway, bootedIn1970());
    expect(agent.status().lastConnectedAt).toSatisfy(Number.isSafeInteger);
  });
});
