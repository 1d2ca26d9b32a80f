import { styleText } from 'node:util';
import { asTyped } from './command-name.ts';
import { formatTable } from './format-table.ts';

type Style = Parameters<typeof styleText>[0];

/** Where a command's result goes: stdout. Talk and errors go to stderr. */
export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** One JSON document, the stable output for programs. */
export function printJson(value: unknown): void {
  print(JSON.stringify(value, null, 2));
}

/** Rows as a table that fits the terminal; `nothing` when there are none. */
export function printTable(heads: readonly string[], rows: readonly (readonly string[])[], nothing: string): void {
  if (rows.length === 0) say(nothing);
  else
    print(
      formatTable(
        heads,
        rows.map((row) => row.map(oneLine)),
        terminalWidth(),
      ),
    );
}

/** Name and value, one a line, values in one column. Undefined values are left out. */
export function printFields(fields: Readonly<Record<string, string | undefined>>): void {
  const present = Object.entries(fields).filter(([, value]) => value !== undefined);
  const width = Math.max(...present.map(([name]) => name.length)) + 2;
  for (const [name, value] of present) print(`${colour('bold', name.padEnd(width))}${oneLine(value ?? '')}`);
}

/** What devices wrote stands in it: a line end of theirs must not look like a row of ours. */
function oneLine(text: string): string {
  return text.replaceAll(/\s*[\r\n]\s*/g, ' ');
}

/** Talk for a person, on stderr. */
export function say(text: string): void {
  process.stderr.write(`${asTyped(text)}\n`);
}

/** Colour on a terminal only; NO_COLOR and FORCE_COLOR are obeyed. */
export function colour(style: Style, text: string): string {
  return styleText(style, text, { stream: process.stdout });
}

/** @returns undefined when stdout is no terminal. */
export function terminalWidth(): number | undefined {
  return process.stdout.isTTY ? process.stdout.columns : undefined;
}
