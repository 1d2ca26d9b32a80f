import { describe, expect, test } from 'vitest';
import { formatRounds, formatSections } from '#scripts/bench/figure.ts';
import { memoryOf, processorMs } from '#scripts/bench/process-facts.ts';
import { median, percentile, rounded } from '#scripts/bench/statistics.ts';

describe('the figures of the bench', () => {
  test('are medians that one bad round does not move', () => {
    expect(median([900, 3, 1000])).toBe(900);
    expect(median([4, 1, 3, 2])).toBe(2.5);
    expect(median([])).toBeNaN();
  });

  test('take percentiles by nearest rank', () => {
    const hundred = Array.from({ length: 100 }, (_, index) => 100 - index);
    expect([percentile(hundred, 50), percentile(hundred, 99), percentile(hundred, 100)]).toEqual([50, 99, 100]);
    expect(percentile([7], 1)).toBe(7);
  });

  test('show three digits', () => {
    expect([rounded(1234.5), rounded(0.123456), rounded(98.76)]).toEqual([1230, 0.123, 98.8]);
  });

  test('stand beside their peer, and say what was left out', () => {
    const figure = { name: 'connects', value: 600, unit: '/s', peer: { name: 'Mosquitto', value: 500 } };
    const text = formatSections([{ name: 'MQTT', figures: [figure], skipped: 'no Mosquitto' }]);
    expect(text).toBe('MQTT\n  connects  600  /s  1.20 of Mosquitto (500)\n  skipped: no Mosquitto');
  });

  test.runIf(process.platform === 'linux')('read memory and processor time of a living process', async () => {
    const { residentKib, anonymousKib } = await memoryOf(process.pid);
    expect(anonymousKib).toBeGreaterThan(1000);
    expect(residentKib).toBeGreaterThan(anonymousKib);
    expect(await processorMs(process.pid)).toBeGreaterThan(0);
  });
});

const figures = (...counts: number[]) =>
  counts.map((count) => ({ name: 'f', value: 1, unit: '', rounds: Array.from({ length: count }, () => 1) }));

describe('the foot of the report', () => {
  test.each([
    ['medians of 3 rounds', [{ name: 'a', figures: figures(3, 3) }]],
    ['medians of 2 rounds (3 asked for)', [{ name: 'a', figures: figures(2, 2) }]],
    [
      'medians of 1 to 3 rounds (3 asked for)',
      [
        { name: 'a', figures: figures(3) },
        { name: 'b', figures: figures(1) },
      ],
    ],
    ['no rounds', [{ name: 'a', figures: [{ name: 'f', value: 1, unit: '' }] }]],
  ])('says %s', (words, sections) => {
    expect(formatRounds(sections, 3)).toBe(words);
  });
});
