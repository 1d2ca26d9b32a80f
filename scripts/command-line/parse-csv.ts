import { CommandError } from './command-error.ts';

/** line and column count from 1; column in characters, where the cell begins. */
export type CsvCell = { text: string; line: number; column: number };

const LINE_END = /\r\n|\n|\r/y;

/**
 * RFC 4180: cells in double quotes may hold the delimiter, line ends and, doubled, quotes. White space around a cell is
 * dropped, and so are empty lines and lines that start with #.
 * @param name of the file, for errors
 * @throws CommandError FAILED naming line and column
 */
export function parseCsv(text: string, name: string, delimiter = ','): CsvCell[][] {
  // A tab is white space only where it does not part cells.
  const blanks = delimiter === '\t' ? / */y : /[ \t]*/y;
  const rows: CsvCell[][] = [];
  let at = 0;
  let line = 1;
  let lineStart = 0;
  while (at < text.length) {
    const row = text[at] === '#' ? skipLine() : readRow();
    if (row.length > 1 || row.some((cell) => cell.text !== '')) rows.push(row);
  }
  return rows;

  function readRow(): CsvCell[] {
    const row = [readCell()];
    while (text[at] === delimiter) {
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
