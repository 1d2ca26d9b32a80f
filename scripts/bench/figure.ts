import { rounded } from './statistics.ts';

/** One line of the result. `peer`: what it is measured beside, in the same run. */
export type Figure = {
  name: string;
  value: number;
  unit: string;
  /** Named where there is something to compare with. */
  peer?: { name: string; value: number };
  /** Each round, in order; the value is their median. */
  rounds?: number[];
  note?: string;
};

export type Section = { name: string; figures: Figure[] /** Why there is nothing, or less. */; skipped?: string };

/** Sections as a table; numbers right-aligned. */
export function formatSections(sections: readonly Section[]): string {
  return sections.map(formatSection).join('\n\n');
}

/** Of how many rounds the figures that have any are the medians: fewer than asked for where the time was up. */
export function formatRounds(sections: readonly Section[], asked: number): string {
  const taken = sections.flatMap(({ figures }) => figures.flatMap(({ rounds }) => rounds?.length ?? []));
  if (taken.length === 0) return 'no rounds';
  const [fewest, most] = [Math.min(...taken), Math.max(...taken)];
  const span = fewest === most ? `${most}` : `${fewest} to ${most}`;
  return `medians of ${span} round${most === 1 ? '' : 's'}${fewest === asked && most === asked ? '' : ` (${asked} asked for)`}`;
}

function formatSection({ name, figures, skipped }: Section): string {
  const rows = figures.map(({ name, value, unit, peer, note }) => [
    name,
    String(rounded(value)),
    unit,
    peer === undefined ? '' : `${ratio(value, peer.value)} of ${peer.name} (${rounded(peer.value)})`,
    note ?? '',
  ]);
  const widths = [0, 1, 2, 3].map((column) => Math.max(0, ...rows.map((row) => (row[column] ?? '').length)));
  const lines = rows.map((row) =>
    row
      .map((cell, column) => (column === 1 ? cell.padStart(widths[1] ?? 0) : cell.padEnd(widths[column] ?? 0)))
      .join('  ')
      .trimEnd(),
  );
  return [name, ...lines.map((line) => `  ${line}`), ...(skipped === undefined ? [] : [`  skipped: ${skipped}`])].join(
    '\n',
  );
}

function ratio(value: number, peer: number): string {
  return (value / peer).toFixed(2);
}
