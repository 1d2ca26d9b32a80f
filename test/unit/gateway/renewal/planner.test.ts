import { assert, double, integer, property, record } from 'fast-check';
import { describe, expect, test } from 'vitest';
import { campaignSlot, hasFailedTooOften } from '#gateway/domain/renewal/campaign-slot.ts';
import { chooseSlot, PLANNED_SHARE, shareOf, windowOf } from '#gateway/domain/renewal/choose-window.ts';
import { IssuingRate } from '#gateway/domain/renewal/issuing-rate.ts';
import { forecastReturn } from '#gateway/domain/renewal/offline-pattern.ts';
import { levelFor, RenewalCalendar, widthOf } from '#gateway/domain/renewal/renewal-calendar.ts';
import { idealMoment, lifeOf, roomOf } from '#gateway/domain/renewal/renewal-rule.ts';
import { replanMissed } from '#gateway/domain/renewal/replan-missed.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const NOW = Date.UTC(2026, 5, 1);

/** A fleet whose certificates were all issued within `enrolledIn`. */
function plan(fleet: { devices: number; lifeMs: number; rate: number; enrolledIn: number }) {
  const calendar = new RenewalCalendar();
  const loads = new Map<number, number>();
  for (let device = 0; device < fleet.devices; device += 1) {
    const from = NOW + Math.floor((device / fleet.devices) * fleet.enrolledIn);
    const life = { from, until: from + fleet.lifeMs };
    const slot = chooseSlot(calendar, { serial: `serial-${device}`, life, rate: fleet.rate });
    calendar.add(slot);
    loads.set(slot.index, (loads.get(slot.index) ?? 0) + 1);
    const { start, end } = windowOf(slot);
    const room = roomOf(life);
    const slack = widthOf(slot.level);
    expect(start).toBeGreaterThanOrEqual(room.start - slack);
    expect(end).toBeLessThanOrEqual(room.end + 2 * slack);
    expect(end).toBeGreaterThan(start);
  }
  return { calendar, peak: Math.max(...loads.values()), level: levelFor(fleet.lifeMs) };
}

const missedOf = (count: number, left: (place: number) => number) =>
  Array.from({ length: count }, (_, place) => ({
    serial: `serial-${place}`,
    from: NOW - 4 * DAY,
    until: NOW + left(place),
  }));

/** `atOnce` at work all the time, each for `ms`. */
const work = (rate: IssuingRate, atOnce: number, ms: number, rounds: number) => {
  let now = 0;
  for (let round = 0; round < rounds; round += 1) {
    for (let each = 0; each < atOnce; each += 1) rate.begin(now);
    now += ms;
    for (let each = 0; each < atOnce; each += 1) rate.end(now, true);
  }
};

describe('the moment at which a certificate is to be renewed', () => {
  test('is two thirds of a long life and half of a short one, counted from when it was issued', () => {
    expect(idealMoment({ from: 0, until: 90 * DAY })).toBe(60 * DAY);
    expect(idealMoment({ from: 0, until: 8 * DAY })).toBe(4 * DAY);
    expect(lifeOf({ notBefore: 0, issuedAt: 5, notAfter: 10 })).toEqual({ from: 5, until: 10 });
    expect(lifeOf({ notBefore: 7, issuedAt: 5, notAfter: 10 })).toEqual({ from: 7, until: 10 });
  });
});

describe('the calendar', () => {
  test('counts what lies in wider slots with its share in each finer one, and finer ones whole in wider', () => {
    const calendar = new RenewalCalendar();
    calendar.add({ level: 10, index: 3 }, 8);
    expect(calendar.load({ level: 9, index: 6 })).toBe(4);
    expect(calendar.load({ level: 9, index: 8 })).toBe(0);
    calendar.add({ level: 9, index: 7 }, 2);
    expect(calendar.load({ level: 10, index: 3 })).toBe(10);
    expect(calendar.load({ level: 9, index: 7 })).toBe(6);
    expect(calendar.load({ level: 22, index: 0 })).toBe(10);
  });
  test('takes out what was put in, and never more', () => {
    const calendar = new RenewalCalendar();
    const slot = { level: 0, index: 29_000_000_000 };
    calendar.add(slot, 2);
    calendar.add(slot, -5);
    expect(calendar.load(slot)).toBe(0);
    expect(calendar.count(NOW - 400 * DAY, NOW + 400 * DAY)).toBe(0);
  });
  test('counts a range of any length to about a percent', () => {
    assert(
      property(integer({ min: 1, max: 500 }), integer({ min: 1, max: 400 }), (devices, days) => {
        const calendar = new RenewalCalendar();
        for (let device = 0; device < devices; device += 1) {
          const at = NOW + ((device + 0.5) / devices) * days * DAY;
          calendar.add({ level: 10, index: Math.floor(at / MINUTE) });
        }
        const counted = calendar.count(NOW, NOW + days * DAY);
        expect(counted).toBe(devices);
        const half = calendar.count(NOW, NOW + (days * DAY) / 2);
        expect(Math.abs(half - devices / 2)).toBeLessThanOrEqual(2 + 0.02 * devices);
      }),
      { numRuns: 50 },
    );
  });
});

describe('windows of a fleet', () => {
  test('give no slot more than its share while the life leaves room, whatever fleet, life and rate', () => {
    assert(
      property(
        record({
          devices: integer({ min: 1, max: 3000 }),
          lifeMs: integer({ min: 10 * MINUTE, max: 400 * DAY }),
          rate: double({ min: 0.05, max: 2000, noNaN: true }),
          enrolledIn: integer({ min: 0, max: DAY }),
        }),
        (fleet) => {
          const { peak, level } = plan(fleet);
          const room = roomOf({ from: 0, until: fleet.lifeMs });
          const capacity = (PLANNED_SHARE * fleet.rate * (room.end - room.start)) / 1000;
          // A range is planned full to its last place; its edges are cut to slots.
          if (fleet.devices < 0.9 * capacity) expect(peak).toBeLessThanOrEqual(Math.ceil(shareOf(level, fleet.rate)));
        },
      ),
      { numRuns: 60 },
    );
  });
  test('are spread so that the fullest slot is at most three above the mean', () => {
    const devices = 20_000;
    const { peak } = plan({ devices, lifeMs: 7 * DAY, rate: 200, enrolledIn: 0 });
    const slots = (0.04 * 7 * DAY) / MINUTE;
    expect(peak - devices / slots).toBeLessThanOrEqual(3);
  });
  test('of a fleet enrolled within a minute spread over at least N / (0.5 R)', () => {
    const calendar = new RenewalCalendar();
    const life = { from: NOW, until: NOW + DAY };
    let [first, last] = [Infinity, 0];
    // 10 000 devices, one issue a second: 20 000 s at half of that, far more than 4 % of a day.
    for (let device = 0; device < 10_000; device += 1) {
      const slot = chooseSlot(calendar, { serial: `s${device}`, life, rate: 1 });
      calendar.add(slot);
      first = Math.min(first, windowOf(slot).start);
      last = Math.max(last, windowOf(slot).end);
    }
    expect(last - first).toBeGreaterThanOrEqual(20_000_000);
  });
  test('are the same for the same certificate and calendar', () => {
    const wish = { serial: 'aa', life: { from: NOW, until: NOW + DAY }, rate: 10 };
    expect(chooseSlot(new RenewalCalendar(), wish)).toEqual(chooseSlot(new RenewalCalendar(), wish));
  });
  test('of a life of seconds are milliseconds wide and lie inside it', () => {
    const slot = chooseSlot(new RenewalCalendar(), {
      serial: 'aa',
      life: { from: NOW, until: NOW + 10_000 },
      rate: 50,
    });
    const { start, end } = windowOf(slot);
    expect(end - start).toBeLessThanOrEqual(60);
    expect(start).toBeGreaterThan(NOW + 4_000);
    expect(end).toBeLessThan(NOW + 7_500);
  });
});

describe('windows that passed while nobody could renew', () => {
  test('are planned anew with those that end first in front, and no minute gets more than its share', () => {
    assert(
      property(
        record({
          count: integer({ min: 1, max: 4000 }),
          hours: integer({ min: 1, max: 48 }),
          rate: integer({ min: 1, max: 100 }),
        }),
        ({ count, hours, rate }) => {
          const calendar = new RenewalCalendar();
          const missed = missedOf(count, (place) => 3 * DAY + ((place * 7919) % count) * 1000);
          const planned = replanMissed(calendar, missed, { now: NOW, rate, outageMs: hours * HOUR });
          expect(planned).toHaveLength(count);
          const until = new Map(missed.map((each) => [each.serial, each.until]));
          const loads = new Map<number, number>();
          let before = 0;
          for (const { serial, slot } of planned) {
            expect(until.get(serial)).toBeGreaterThanOrEqual(before);
            before = until.get(serial) ?? 0;
            expect(windowOf(slot).start).toBeGreaterThanOrEqual(NOW);
            expect(windowOf(slot).end).toBeLessThan(before);
            loads.set(slot.index, (loads.get(slot.index) ?? 0) + 1);
          }
          const indexes = planned.map(({ slot }) => slot.index);
          expect(indexes).toEqual(indexes.toSorted((a, b) => a - b));
          if (count < 0.9 * PLANNED_SHARE * rate * 36 * 3600)
            expect(Math.max(...loads.values())).toBeLessThanOrEqual(shareOf(10, rate));
        },
      ),
      { numRuns: 60 },
    );
  });
  test('are spread over as long as the outage was when the gateway could do it at once', () => {
    const planned = replanMissed(
      new RenewalCalendar(),
      missedOf(1200, () => 3 * DAY),
      {
        now: NOW,
        rate: 500,
        outageMs: 2 * HOUR,
      },
    );
    const perMinute = new Map<number, number>();
    for (const { slot } of planned) perMinute.set(slot.index, (perMinute.get(slot.index) ?? 0) + 1);
    expect(Math.max(...perMinute.values())).toBeLessThanOrEqual(11);
    expect(perMinute.size).toBeGreaterThanOrEqual(115);
  });
  test('go around what was planned for those minutes anyway', () => {
    const calendar = new RenewalCalendar();
    for (let minute = 1; minute <= 30; minute += 1) calendar.add({ level: 10, index: NOW / MINUTE + minute }, 600);
    const planned = replanMissed(
      calendar,
      missedOf(100, () => 3 * DAY),
      { now: NOW, rate: 20, outageMs: 5 * MINUTE },
    );
    for (const { slot } of planned) expect(slot.index).toBeGreaterThan(NOW / MINUTE + 30);
  });
  test('come before the certificate ends even when all is full', () => {
    const calendar = new RenewalCalendar();
    for (let minute = 0; minute <= 300; minute += 1)
      calendar.add({ level: 10, index: NOW / MINUTE + minute }, 1_000_000);
    const [only] = replanMissed(
      calendar,
      missedOf(1, () => HOUR),
      { now: NOW, rate: 1, outageMs: DAY },
    );
    expect(only && windowOf(only.slot).end).toBeLessThan(NOW + HOUR);
  });
});

describe('the measured rate', () => {
  test('goes up to what was done while busy', () => {
    const rate = new IssuingRate(50);
    work(rate, 16, 20, 200);
    expect(rate.perSecond).toBeGreaterThan(700);
    expect(rate.perSecond).toBeLessThanOrEqual(800);
  });
  test('comes down when a busy gateway does less', () => {
    const rate = new IssuingRate(800);
    work(rate, 16, 200, 400);
    expect(rate.perSecond).toBeLessThan(110);
  });
  test('is not lowered by one slow request after the other: they tell only what it can do at least', () => {
    const rate = new IssuingRate(800);
    work(rate, 1, 100, 500);
    expect(rate.perSecond).toBe(800);
  });
  test('counts as measured once enough was issued, or when it was kept', () => {
    const rate = new IssuingRate();
    work(rate, 1, 10, 7);
    expect(rate.isMeasured).toBe(false);
    work(rate, 1, 10, 64);
    expect(rate.isMeasured).toBe(true);
    expect(new IssuingRate(120).isMeasured).toBe(true);
    expect(new IssuingRate(Number.NaN).isMeasured).toBe(false);
  });
  test('learns nothing from what failed', () => {
    const rate = new IssuingRate(100);
    for (let now = 0; now < 10_000; now += 100) {
      rate.begin(now);
      rate.end(now + 90, false);
    }
    expect(rate.perSecond).toBe(100);
  });
  test.each([Number.NaN, 0, -1, Number.POSITIVE_INFINITY])('starts anew where %s was kept', (kept) => {
    expect(new IssuingRate(kept).perSecond).toBe(new IssuingRate().perSecond);
  });
});

describe('a campaign', () => {
  test('gives each device the same moment whoever computes it, evenly over the width', () => {
    const campaign = { id: 'rc-1', startsAt: NOW, width: HOUR };
    expect(campaignSlot('press-07', campaign)).toBe(campaignSlot('press-07', campaign));
    const perMinute = new Map<number, number>();
    for (let device = 0; device < 60_000; device += 1) {
      const at = campaignSlot(`device-${device}`, campaign);
      expect(at).toBeGreaterThanOrEqual(NOW);
      expect(at).toBeLessThan(NOW + HOUR);
      const minute = Math.floor((at - NOW) / MINUTE);
      perMinute.set(minute, (perMinute.get(minute) ?? 0) + 1);
    }
    // 1000 a minute in the mean: four standard deviations.
    expect(Math.max(...perMinute.values())).toBeLessThan(1130);
  });
  test.each([
    ['too few have ended', { renewed: 0, failed: 9, all: 1000 }, false],
    ['one of ten failed at five percent', { renewed: 9, failed: 1, all: 1000 }, true],
    ['exactly the limit', { renewed: 95, failed: 5, all: 1000 }, false],
    ['all three of three failed', { renewed: 0, failed: 3, all: 3 }, true],
    ['nothing has ended', { renewed: 0, failed: 0, all: 0 }, false],
  ])('is judged when %s', (_name, counts, expected) => {
    expect(hasFailedTooOften(counts, 5)).toBe(expected);
  });
});

describe('a device that is offline', () => {
  test('is expected back after its usual gap', () => {
    const presences = [
      { since: 0, until: 10 },
      { since: 110, until: 120 },
      { since: 220, until: 230 },
    ];
    expect(forecastReturn(presences, 250)).toEqual({ lastSeen: 230, usualGapMs: 100, expectedBack: 330 });
  });
  test('that is overdue is expected to stay away as long again', () => {
    expect(
      forecastReturn(
        [
          { since: 0, until: 10 },
          { since: 20, until: 30 },
        ],
        130,
      )?.expectedBack,
    ).toBe(230);
    expect(forecastReturn([{ since: 0, until: 30 }], 130)).toEqual({
      lastSeen: 30,
      usualGapMs: null,
      expectedBack: 230,
    });
  });
  test('is not one that is connected or was never seen', () => {
    expect(forecastReturn([{ since: 0, until: null }], 130)).toBeUndefined();
    expect(forecastReturn([], 130)).toBeUndefined();
  });
});
