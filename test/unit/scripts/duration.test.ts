import { describe, expect, test } from 'vitest';
import { formatDuration, parseDuration } from '#scripts/command-line/duration.ts';

describe('durations on the command line', () => {
  test.each([
    ['90s', 90],
    ['15m', 900],
    ['24h', 86_400],
    ['7d', 604_800],
    [' 7d ', 604_800],
  ])('%s is %d seconds', (text, seconds) => {
    expect(parseDuration(text)).toBe(seconds);
  });

  test.each(['', '7', 'd', '0s', '-1d', '1.5h', '7 d', '7w', '1e3s', '9999999999d'])('"%s" is refused', (text) => {
    expect(() => parseDuration(text)).toThrow(/is not a duration: write 90s, 15m, 24h or 7d/);
  });

  test.each([
    [604_800, '7d'],
    [5400, '90m'],
    [3600, '1h'],
    [61, '61s'],
    [0, '0s'],
  ])('%d seconds are shown as %s', (seconds, text) => {
    expect(formatDuration(seconds)).toBe(text);
  });

  test('what is shown is read back as the same', () => {
    for (const seconds of [1, 59, 60, 3599, 3600, 86_399, 86_400, 31_536_000]) {
      expect(parseDuration(formatDuration(seconds))).toBe(seconds);
    }
  });
});
