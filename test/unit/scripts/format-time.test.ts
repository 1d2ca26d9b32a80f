import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { formatDistance, formatLocalTime, formatTime } from '#scripts/command-line/format-time.ts';

const SUMMER = Date.UTC(2026, 6, 1, 10, 0, 0);
const WINTER = Date.UTC(2026, 0, 1, 10, 0, 0);

describe('times for people', () => {
  const zone = process.env['TZ'];
  beforeEach(() => {
    process.env['TZ'] = 'Europe/Berlin';
  });
  afterEach(() => {
    if (zone === undefined) delete process.env['TZ'];
    else process.env['TZ'] = zone;
  });

  test('are local, with the offset of their own season', () => {
    expect(formatLocalTime(SUMMER)).toBe('2026-07-01T12:00:00+02:00');
    expect(formatLocalTime(WINTER)).toBe('2026-01-01T11:00:00+01:00');
  });

  test('name a negative and a half-hour offset', () => {
    process.env['TZ'] = 'America/St_Johns';
    expect(formatLocalTime(WINTER)).toBe('2026-01-01T06:30:00-03:30');
  });

  test('end with Z where local time is UTC', () => {
    process.env['TZ'] = 'UTC';
    expect(formatLocalTime(WINTER)).toBe('2026-01-01T10:00:00Z');
  });

  test('can be parsed back', () => {
    for (const at of [SUMMER, WINTER]) expect(Date.parse(formatLocalTime(at))).toBe(at);
  });

  test('say how far away they are', () => {
    expect(formatTime(WINTER + 6.9 * 86_400_000, WINTER)).toMatch(/ \(in 6 d\)$/);
  });

  test.each([
    [0, 'now'],
    [999, 'now'],
    [-30_000, '30 s ago'],
    [59_999, 'in 59 s'],
    [60_000, 'in 1 min'],
    [-3_600_000, '1 h ago'],
    [47 * 3_600_000, 'in 47 h'],
    [48 * 3_600_000, 'in 2 d'],
  ])('%d ms away is "%s"', (distance, text) => {
    expect(formatDistance(WINTER + distance, WINTER)).toBe(text);
  });
});
