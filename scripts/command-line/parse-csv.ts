import { CommandError } from './command-error.ts';

/** line and column count from 1; column in characters, where the cell begins. */
export type CsvCell = { text: string; line: number; column: number };

const LINE_END = /\r\n|\n|\r/y;

/** Of a line: no list here has as many, and a file that is something else may have millions. */
const MOST_CELLS = 100;

/** All rows of `readCsv` at once, for short files. @throws CommandError as there */
export function parseCsv(text: string, name: string, delimiter?: string): CsvCell[][] {
  return [...readCsv(text, name, delimiter)];
}

/**
 * RFC 4180: cells in double quotes may hold the delimiter, line ends and, doubled, quotes. White space around a cell is
 * dropped, and so are empty lines and lines that start with #. One row after the other: a list may have millions.
 * @param name of the file, for errors
 * @throws CommandError FAILED naming line and column
 */
export function* readCsv(text: string, name: string, delimiter = ','): Generator<CsvCell[], void> {
  // A tab is white space only where it does not part cells.
  const blanks = delimiter === '\t' ? / */y : /[ \t]*/y;
  let at = 0;
  let line = 1;
  let lineStart = 0;
  while (at < text.length) {
    const row = text[at] === '#' ? skipLine() : readRow();
    if (row.length > 1 || row.some((cell) => cell.text !== '')) yield row;
  }

  function readRow(): CsvCell[] {
    const row = [readCell()];
    while (text[at] === delimiter) {
      if (row.length === MOST_CELLS)
        throw wrong({ line, column: at - lineStart + 1 }, `more than ${MOST_CELLS} cells in a line`);
      at += 1;
      row.push(readCell());
    }
    takeLineEnd();
    return row;
  }

  function skipLine(): CsvCell[] {
    while (at < text.length && !isLineEnd()) at += 1;
    takeLineEnd();
    return [];
  }

  function readCell(): CsvCell {
    skipBlanks();
    const place = { line, column: at - lineStart + 1 };
    if (text[at] === '"') return { text: readQuoted(place), ...place };
    const from = at;
    while (at < text.length && text[at] !== delimiter && !isLineEnd()) at += 1;
    return { text: text.slice(from, at).trim(), ...place };
  }

  function readQuoted(place: Omit<CsvCell, 'text'>): string {
    let content = '';
    at += 1;
    for (;;) {
      const end = text.indexOf('"', at);
      if (end === -1) throw wrong(place, 'a quote is opened here and never closed');
      content += text.slice(at, end);
      countLines(at, end);
      at = end + 1;
      if (text[at] !== '"') break;
      content += '"';
      at += 1;
    }
    skipBlanks();
    if (at < text.length && text[at] !== delimiter && !isLineEnd()) {
      throw wrong({ line, column: at - lineStart + 1 }, 'after a closing quote comes the next cell or the next line');
    }
    return content.trim();
  }

  function skipBlanks(): void {
    blanks.lastIndex = at;
    at += blanks.exec(text)?.[0].length ?? 0;
  }

  function isLineEnd(): boolean {
    return text[at] === '\n' || text[at] === '\r';
  }

  function takeLineEnd(): void {
    LINE_END.lastIndex = at;
    const [end] = LINE_END.exec(text) ?? [];
    if (end === undefined) return;
    at += end.length;
    line += 1;
    lineStart = at;
  }

  function countLines(from: number, to: number): void {
    for (const { 0: end, index } of text.slice(from, to).matchAll(/\r\n|\n|\r/g)) {
      line += 1;
      lineStart = from + index + end.length;
    }
  }

  function wrong(place: Omit<CsvCell, 'text'>, what: string): CommandError {
    return new CommandError('FAILED', `${name}:${place.line}:${place.column}: ${what}`);
  }
}
