import { DEVICE_ID_RULE, isDeviceId } from '#gateway/contract/device-id.ts';
import { HARDWARE_SERIAL, HARDWARE_SERIAL_RULE } from '#gateway/contract/hardware-serial.ts';
import { CommandError } from './command-error.ts';
import { parseSha256 } from './command-options.ts';
import { type CsvCell, readCsv } from './parse-csv.ts';
import { readTextFile } from './read-text-file.ts';

const COLUMNS = ['deviceId', 'group', 'hardwareSerial', 'owner', 'ekSha256'] as const;
type Column = (typeof COLUMNS)[number];

/** A device to register, as the gateway takes it. */
export type DeviceLine = { deviceId: string } & Partial<Record<Exclude<Column, 'deviceId'>, string>>;

/** More would not be read by anybody. */
const MOST_FAULTS = 10;

/** Each gives the value in its plain form, or throws RangeError. */
const READ: Record<Column, (text: string) => string> = {
  deviceId: (text) => {
    if (!isDeviceId(text)) throw new RangeError(`"${text.slice(0, 80)}" is not a device id: ${DEVICE_ID_RULE}`);
    return text;
  },
  group: (text) => requireWords(text, 63),
  hardwareSerial: (text) => {
    if (!HARDWARE_SERIAL.test(text)) throw new RangeError(`"${text.slice(0, 80)}": ${HARDWARE_SERIAL_RULE}`);
    return text;
  },
  owner: (text) => requireWords(text, 200),
  ekSha256: parseSha256,
};

/** Two devices must not have the same. */
const UNIQUE: readonly Column[] = ['deviceId', 'hardwareSerial', 'ekSha256'];

/**
 * Devices of a CSV file, with their lines. Its first line names the columns, in any order: deviceId, and as wanted group,
 * hardwareSerial, owner, ekSha256 (of the endorsement key). Cells are parted by commas, or by semicolons or tabs when the
 * first line is. An empty cell is as if the column were not there. The whole file is read before anything is sent: a
 * wrong line stops all of it.
 * @throws CommandError FAILED naming line and column of every fault, the first ten at most
 */
export async function readDeviceList(path: string): Promise<(DeviceLine & { line: number })[]> {
  const text = await readTextFile(path);
  const rows = readCsv(text, path, delimiterOf(text));
  const header = rows.next().value ?? [];
  if (header.length === 0) {
    throw new CommandError('FAILED', `${path} is empty`, {
      advice: `its first line names columns: ${COLUMNS.join(',')}`,
    });
  }
  const columns = header.map((cell) => columnOf(cell, path));
  requireColumns(columns, path);
  const faults: string[] = [];
  const seen = new Map<string, number>();
  const devices: (DeviceLine & { line: number })[] = [];
  for (const row of rows) {
    const line = row[0]?.line ?? 0;
    if (row.length !== columns.length) {
      faults.push(`${path}:${line}: ${row.length} cells, and the first line names ${columns.length}`);
      continue;
    }
    const device: Partial<Record<Column, string>> = {};
    for (const [index, column] of columns.entries()) {
      const cell = row[index];
      if (cell === undefined || (cell.text === '' && column !== 'deviceId')) continue;
      try {
        const value = READ[column](cell.text);
        device[column] = value;
        if (UNIQUE.includes(column)) requireFirst(seen, column, value, line);
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
        faults.push(`${path}:${cell.line}:${cell.column}: ${column}: ${error.message}`);
      }
    }
    const { deviceId } = device;
    if (deviceId !== undefined) devices.push({ ...device, deviceId, line });
  }
  if (faults.length > 0) throw new CommandError('FAILED', describe(faults), { advice: 'nothing was sent' });
  return devices;
}

/** Characters of the first line that are looked at. */
const MOST_HEADER = 1000;

/** The mark that stands in the first line outside of quotes; a comma when none does. */
function delimiterOf(text: string): string {
  const [first = ''] = /^(?!#)[^\r\n]*[^\s][^\r\n]*/m.exec(text) ?? [];
  const outside = first.slice(0, MOST_HEADER).replaceAll(/"[^"]*"/g, '');
  return [',', ';', '\t'].find((mark) => outside.includes(mark)) ?? ',';
}

/** `device_id`, `Device ID` and `deviceId` are the same. */
function columnOf(cell: CsvCell, path: string): Column {
  const plain = cell.text.replaceAll(/[-_ ]/g, '').toLowerCase();
  const found = COLUMNS.find((column) => column.toLowerCase() === plain);
  if (found !== undefined) return found;
  throw new CommandError(
    'FAILED',
    `${path}:${cell.line}:${cell.column}: "${cell.text.slice(0, 40)}" is not a column: ${COLUMNS.join(', ')}`,
    { advice: `the first line names the columns: ${COLUMNS.join(',')}` },
  );
}

function requireColumns(columns: readonly Column[], path: string): void {
  const twice = columns.find((column, index) => columns.indexOf(column) !== index);
  if (twice !== undefined) throw new CommandError('FAILED', `${path}:1: the column ${twice} is there twice`);
  if (!columns.includes('deviceId')) throw new CommandError('FAILED', `${path}:1: the column deviceId is missing`);
}

function requireFirst(seen: Map<string, number>, column: Column, value: string, line: number): void {
  const key = `${column} ${value}`;
  const first = seen.get(key);
  if (first !== undefined) throw new RangeError(`"${value}" stands in line ${first} already`);
  seen.set(key, line);
}

/** One line of a person's words. @throws RangeError */
function requireWords(text: string, length: number): string {
  if (text.length > length) throw new RangeError(`${text.length} characters, and ${length} are allowed`);
  if (/\p{Cc}/u.test(text)) throw new RangeError('line ends and control characters are not allowed');
  return text;
}

function describe(faults: readonly string[]): string {
  const rest = faults.length - MOST_FAULTS;
  return [...faults.slice(0, MOST_FAULTS), ...(rest > 0 ? [`and ${rest} more`] : [])].join('\n');
}
