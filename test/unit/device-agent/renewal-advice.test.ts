import { describe, expect, test } from 'vitest';
import { parseGenerationMeta } from '#device-agent/domain/generation-meta.ts';
import { clampStanding, nextQuestion, pauseUnanswered } from '#device-agent/domain/renewal-advice.ts';
import { plannedRenewal } from '#device-agent/domain/renewal-schedule.ts';
import { type Advice, startKeeper } from '#test/fixtures/device-agent/started-keeper.ts';

const HOUR = 3600_000;
const DAY = 24 * HOUR;

describe('a window the gateway suggests', () => {
  const certificate = { serial: 'aa', sha256: '7fffffff', notBefore: 0, notAfter: 10_000 };
  test('takes the place of the local rule, and the moment lies inside it', () => {
    const at = plannedRenewal({ certificate, meta: { suggestedWindow: { start: 6000, end: 7000 } } }, undefined);
    expect(at).toBe(6500);
  });
  test('heard later takes the place of the one that came with the certificate', () => {
    const meta = { suggestedWindow: { start: 6000, end: 7000 } };
    expect(plannedRenewal({ certificate, meta }, undefined, { start: 2000, end: 3000 })).toBe(2500);
  });
  test('spreads a fleet evenly, and gives one certificate always the same moment', () => {
    const moments = ['00000000', '3fffffff', 'bfffffff', 'ffffffff'].map((sha256) =>
      plannedRenewal({ certificate: { ...certificate, sha256 }, meta: {} }, undefined, { start: 0, end: 4000 }),
    );
    expect(moments).toEqual([0, 1000, 3000, 4000]);
  });
  test('near the end is not waited for: some life is kept for attempts', () => {
    expect(plannedRenewal({ certificate, meta: {} }, undefined, { start: 9900, end: 9_999 })).toBe(9000);
    expect(plannedRenewal({ certificate, meta: {} }, undefined, { start: 90_000, end: 99_000 })).toBe(9000);
  });
  test('does not hold up what a notice orders', () => {
    expect(plannedRenewal({ certificate, meta: {} }, { serial: 'aa', at: 5 }, { start: 6000, end: 7000 })).toBe(5);
  });
  test.each([{ start: 5, end: 5 }, { start: 5, end: 4 }, { start: 'x', end: 4 }, 7, null])(
    'kept on the disk as %j is none',
    (suggestedWindow) => {
      expect(parseGenerationMeta({ suggestedWindow })).not.toHaveProperty('suggestedWindow');
    },
  );
});

describe('asking the gateway for a window', () => {
  test.each([
    [1000, 60_000],
    [90_000, 90_000],
    [9 * DAY, DAY],
    [undefined, 6 * HOUR],
  ])('again after Retry-After %s waits %i ms', (retryAfterMs, expected) => {
    expect(clampStanding(retryAfterMs)).toBe(expected);
  });
  test('is done within a day when one is known, and soon when none is', () => {
    for (const fraction of [0, 0.5, 0.999]) {
      const advised = nextQuestion({ isAdvised: true, lifetimeMs: 7 * DAY, fraction });
      expect(advised).toBeGreaterThanOrEqual(DAY / 2);
      expect(advised).toBeLessThanOrEqual(DAY);
      expect(nextQuestion({ isAdvised: false, lifetimeMs: 7 * DAY, fraction })).toBeLessThan(60_000);
      expect(nextQuestion({ isAdvised: false, lifetimeMs: 60_000, fraction })).toBeLessThanOrEqual(3000);
    }
  });
});

const unreachable = () => Promise.reject(new Error('unreachable'));

describe('a gateway that does not answer (RFC 9773 4.3.3)', () => {
  test('is asked slower and slower, and every six hours in the end', () => {
    const pauses = Array.from({ length: 12 }, (_, failures) => pauseUnanswered(failures, 0));
    expect(pauses.slice(0, 4)).toEqual([60_000, 120_000, 240_000, 480_000]);
    expect(pauses.at(-1)).toBe(6 * HOUR);
    expect(pauseUnanswered(5000, 0.999)).toBeLessThan(8 * HOUR);
    expect(pauseUnanswered(0, 0.5)).toBe(67_500);
  });

  test('costs a device whose HTTPS is closed for good a few questions a day', async () => {
    const { clock, keeper, questions } = await startKeeper(90 * 86_400, { advise: unreachable });
    for (let minute = 0; minute < 2 * 24 * 60; minute += 1) await clock.run(60_000);
    const gaps = questions.slice(1).map((at, index) => at - (questions[index] ?? 0));
    expect(gaps[0]).toBeLessThanOrEqual(2 * 60_000);
    expect(gaps.at(-1)).toBeGreaterThanOrEqual(6 * HOUR);
    expect(questions.length).toBeLessThan(20);
    await keeper.stop();
  });

  test('is asked as often as it wishes again once it has answered', async () => {
    let isThere = false;
    const window = { start: Date.now() + 40 * DAY, end: Date.now() + 41 * DAY };
    const advise = async () => {
      if (!isThere) throw new Error('unreachable');
      return { window, retryAfterMs: HOUR };
    };
    const { clock, keeper, questions } = await startKeeper(90 * 86_400, { advise });
    for (let hour = 0; hour < 24 * 60; hour += 1) await clock.run(60_000);
    isThere = true;
    for (let minute = 0; minute < 8 * 60; minute += 1) await clock.run(60_000);
    isThere = false;
    const asked = questions.length;
    for (let minute = 0; minute < 66; minute += 1) await clock.run(60_000);
    // An hour after the answer, and, though it failed then, a minute or two later.
    expect(questions.length - asked).toBeGreaterThanOrEqual(2);
    await keeper.stop();
  });
});

/** The keeper of an hour's certificate at half of its life, where the local rule would renew. */
async function atItsMoment(advise: () => Promise<Advice>, renewVia: 'auto' | 'mqtt' = 'auto') {
  const suggestedWindow = { start: Date.now() + 1700_000, end: Date.now() + 1800_000 };
  const started = await startKeeper(3600, { advise, meta: { suggestedWindow }, renewVia });
  started.clock.wall += 1900_000;
  return started;
}

describe('before a planned renewal', () => {
  test.each(['auto', 'mqtt'] as const)(
    'the gateway is asked, and one that was down finds the device waiting for a later window: renewal over %s',
    async (renewVia) => {
      const advise = async () => ({
        window: { start: certificate.notBefore + 2500_000, end: certificate.notBefore + 2500_001 },
        retryAfterMs: 6 * HOUR,
      });
      const { clock, keeper, renewals, questions, certificate } = await atItsMoment(advise, renewVia);
      await clock.run(30_000);
      await expect.poll(() => questions).toHaveLength(1);
      for (let round = 0; round < 10; round += 1) await clock.run(30_000);
      expect(renewals).toEqual([]);
      expect(questions).toHaveLength(1);
      clock.wall = certificate.notBefore + 2501_000;
      await clock.run(30_000);
      await expect.poll(() => renewals).toHaveLength(1);
      // Its last answer still stood.
      expect(questions).toHaveLength(1);
      await keeper.stop();
    },
  );

  test('no answer is no reason to wait', async () => {
    const { clock, keeper, renewals, questions } = await atItsMoment(() => Promise.reject(new Error('unreachable')));
    await clock.run(30_000);
    await expect.poll(() => renewals).toHaveLength(1);
    expect(questions.length).toBeGreaterThan(0);
    await keeper.stop();
  });

  test('a gateway that can be asked by nothing is given the time to tell another window in the session', async () => {
    const suggestedWindow = { start: Date.now() + 1700_000, end: Date.now() + 1800_000 };
    const settled = Promise.withResolvers<void>();
    const { clock, keeper, advisor, renewals, certificate } = await startKeeper(3600, {
      advise: () => Promise.reject(new Error('unreachable')),
      meta: { suggestedWindow },
      renewVia: 'mqtt',
      settled: () => settled.promise,
    });
    await clock.run(30_000);
    const { serial, notBefore } = certificate;
    clock.wall = suggestedWindow.end + 60_000;
    void clock.run(30_000);
    await expect.poll(() => clock.waits).toContain(20_000);
    advisor.hear({ serial, start: notBefore + 2500_000, end: notBefore + 2500_001 });
    settled.resolve();
    for (let round = 0; round < 10; round += 1) await clock.run(30_000);
    expect(renewals).toEqual([]);
    clock.wall = notBefore + 2501_000;
    void clock.run(30_000);
    await expect.poll(() => renewals).toHaveLength(1);
    await keeper.stop();
  });

  test('a window that was told by a notice stands after a restart, unless it is about another certificate', async () => {
    const serials: string[] = [];
    const window = { start: Date.now() + 2500_000, end: Date.now() + 2500_001 };
    const started = await startKeeper(3600, { told: () => ({ serial: serials[0] ?? '', ...window }) });
    expect(started.keeper.nextRenewalAt()).toBeLessThan(window.start);
    serials.push(started.certificate.serial);
    expect(started.keeper.nextRenewalAt()).toBeGreaterThanOrEqual(window.start);
    expect(started.keeper.nextRenewalAt()).toBeLessThanOrEqual(window.end);
    await started.keeper.stop();
  });

  test('where only MQTT gets through nobody is asked every minute', async () => {
    const { clock, keeper, questions } = await startKeeper(30 * 86_400, {
      advise: () => Promise.reject(new Error('unreachable')),
      renewVia: 'mqtt',
    });
    for (let minute = 0; minute < 180; minute += 1) await clock.run(60_000);
    expect(questions.length).toBeLessThanOrEqual(1);
    await keeper.stop();
  });

  test('a gateway that hangs is waited for twenty seconds and no longer', async () => {
    const { clock, keeper, renewals } = await atItsMoment(() => new Promise(() => {}));
    await clock.run(30_000);
    await expect.poll(() => clock.waits).toContain(20_000);
    expect(renewals).toEqual([]);
    void clock.run(20_000);
    await expect.poll(() => renewals).toHaveLength(1);
    await keeper.stop();
  });

  test('an end that is not after the start is no answer', async () => {
    const { clock, keeper, renewals } = await atItsMoment(async () => ({ window: undefined, retryAfterMs: HOUR }));
    await clock.run(30_000);
    await expect.poll(() => renewals).toHaveLength(1);
    await keeper.stop();
  });
});

test('a window moved forward is heard of within a day, and kept', async () => {
  const started = await startKeeper(10 * 24 * 3600, {
    advise: async () => ({ window: { start: Date.now() - 2000, end: Date.now() - 1000 }, retryAfterMs: HOUR }),
    meta: { suggestedWindow: { start: Date.now() + 5 * DAY, end: Date.now() + 5 * DAY + 60_000 } },
  });
  const { clock, keeper, renewals, questions } = started;
  await clock.run(DAY / 2 - 60_000);
  expect(questions).toEqual([]);
  expect(renewals).toEqual([]);
  await clock.run(DAY / 2 + 60_000);
  await expect.poll(() => renewals).toHaveLength(1);
  await keeper.stop();
});
