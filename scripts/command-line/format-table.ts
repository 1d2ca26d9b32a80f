import { stripVTControlCharacters, styleText } from 'node:util';
import Table from 'cli-table3';

const NO_LINES = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: '  ',
} as const;

const GAP = 2;
/** Below this a column cannot be read any more; the table may then be wider than the terminal. */
const NARROWEST = 6;

/**
 * A table without lines, so that it can be read, copied and cut by other programs.
 *
 * @param columns width of the terminal; undefined (not a terminal): as wide as it needs, one row one line
 */
export function formatTable(
  heads: readonly string[],
  rows: readonly (readonly string[])[],
  columns: number | undefined,
): string {
  const natural = heads.map((head, index) =>
    Math.max(head.length, ...rows.map((row) => stripVTControlCharacters(row[index] ?? '').length)),
  );
  const widths = columns === undefined ? natural : fitWidths(natural, columns);
  const table = new Table({
    chars: NO_LINES,
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0, compact: true },
    colWidths: widths,
  });
  table.push(heads.map((head) => styleText('bold', head.toUpperCase(), { stream: process.stdout })));
  for (const row of rows) table.push(row.map((cell, index) => wrap(cell, widths[index] ?? cell.length)));
  return table
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n');
}

/** Breaks anywhere, since serials and fingerprints have no spaces; a cell that is broken loses its colour. */
function wrap(cell: string, width: number): string {
  const plain = stripVTControlCharacters(cell);
  if (plain.length <= width) return cell;
  return plain.match(new RegExp(`.{1,${width}}`, 'gsu'))?.join('\n') ?? plain;
}

/** Takes from the widest column until the row fits. */
function fitWidths(natural: readonly number[], columns: number): number[] {
  const widths = [...natural];
  let excess = widths.reduce((sum, width) => sum + width, GAP * (widths.length - 1)) - columns;
  while (excess > 0) {
    const widest = Math.max(...widths);
    if (widest <= NARROWEST) break;
    widths[widths.indexOf(widest)] = widest - 1;
    excess -= 1;
  }
  return widths;
}
