import { stripVTControlCharacters } from 'node:util';
import { describe, expect, test } from 'vitest';
import { formatTable } from '#scripts/command-line/format-table.ts';

const SERIAL = '0123456789abcdef0123456789abcdef01234567';

function lines(columns: number | undefined): string[] {
  const rows = [
    ['press-07', SERIAL, 'active'],
    ['monitor-1', SERIAL, 'superseded'],
  ];
  return stripVTControlCharacters(formatTable(['device', 'serial', 'state'], rows, columns)).split('\n');
}

describe('tables', () => {
  test('are one line a row where there is no terminal, so that programs can read them', () => {
    const [head, first, second, ...rest] = lines(undefined);
    expect(head).toMatch(/^DEVICE +SERIAL +STATE$/);
    expect(first?.split(/ +/)).toEqual(['press-07', SERIAL, 'active']);
    expect(second?.split(/ +/)).toEqual(['monitor-1', SERIAL, 'superseded']);
    expect(rest).toEqual([]);
  });

  test.each([100, 60, 44, 30])('fit a terminal of %d columns without losing a character', (columns) => {
    const shown = lines(columns);
    for (const line of shown) expect(line.length).toBeLessThanOrEqual(columns);
    const letters = shown.join('').replaceAll(' ', '').split('').sort().join('');
    const whole = lines(undefined).join('').replaceAll(' ', '').split('').sort().join('');
    expect(letters).toBe(whole);
  });

  test('are as wide as needed and no wider', () => {
    expect(lines(200)).toEqual(lines(undefined));
  });

  test('measure what is seen, not the colour codes', () => {
    const plain = formatTable(['state'], [['refused']], undefined);
    const coloured = formatTable(['state'], [['\u001b[31mrefused\u001b[39m']], undefined);
    expect(stripVTControlCharacters(coloured)).toBe(stripVTControlCharacters(plain));
  });
});
