import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CommandError } from '#scripts/command-line/command-error.ts';
import { parseCsv } from '#scripts/command-line/parse-csv.ts';
import { readDeviceList } from '#scripts/command-line/read-device-list.ts';

const texts = (text: string, delimiter?: string) =>
  parseCsv(text, 'file', delimiter).map((row) => row.map((cell) => cell.text));

describe('a CSV file', () => {
  it.each<[string, string, string[][]]>([
    [
      'plain cells',
      'a,b\nc,d\n',
      [
        ['a', 'b'],
        ['c', 'd'],
      ],
    ],
    ['no line end at the end', 'a,b', [['a', 'b']]],
    ['Windows and old Mac line ends', 'a\r\nb\rc\n', [['a'], ['b'], ['c']]],
    ['empty lines and comments', '\n# "not, closed\na\n \n', [['a']]],
    [
      'empty cells',
      ',a,\n,,\n',
      [
        ['', 'a', ''],
        ['', '', ''],
      ],
    ],
    ['white space around cells', ' a ,\t"b" \n', [['a', 'b']]],
    ['quoted delimiters, quotes and line ends', '"a,b","say ""hi""","x\ny"', [['a,b', 'say "hi"', 'x\ny']]],
    ['a quote within a cell', 'a"b,c', [['a"b', 'c']]],
    ['an empty quoted cell', '""', []],
    ['nothing', '', []],
    ['as many cells as any list has', ','.repeat(99), [Array(100).fill('')]],
  ])('is read with %s', (_, text, rows) => {
    expect(texts(text)).toEqual(rows);
  });

  it('says where each cell begins, also after a cell of several lines', () => {
    expect(parseCsv('a, b\n"x\r\ny",c\nd', 'file')).toEqual([
      [
        { text: 'a', line: 1, column: 1 },
        { text: 'b', line: 1, column: 4 },
      ],
      [
        { text: 'x\r\ny', line: 2, column: 1 },
        { text: 'c', line: 3, column: 4 },
      ],
      [{ text: 'd', line: 4, column: 1 }],
    ]);
  });

  it('keeps empty cells where tabs part them', () => {
    expect(texts('a\t\t"b\tc"\t', '\t')).toEqual([['a', '', 'b\tc', '']]);
  });

  it.each([
    ['a quote that is never closed', 'a\nb,"c\nd', 'file:2:3: a quote is opened here and never closed'],
    ['something after a closing quote', 'a,"b"c', 'file:1:6: after a closing quote'],
    ['a line of a million cells', `a\n${','.repeat(1_000_000)}`, 'file:2:100: more than 100 cells in a line'],
  ])('is refused for %s, naming the place', (_, text, message) => {
    expect(() => parseCsv(text, 'file')).toThrow(message);
  });

  it('gives back what was written into it, whatever that is', () => {
    const cell = fc
      .string({ unit: fc.constantFrom('a', ',', '"', '\n', '\r', ' ', ';', '#', 'é') })
      .map((s) => s.trim());
    fc.assert(
      fc.property(fc.array(fc.array(cell, { minLength: 2, maxLength: 4 }), { maxLength: 5 }), (rows) => {
        const written = rows.map((row) => row.map((text) => `"${text.replaceAll('"', '""')}"`).join(',')).join('\r\n');
        expect(texts(written)).toEqual(rows);
      }),
    );
  });

  it('is read or refused with a CommandError, whatever it holds', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom('a', ',', '"', '\n', '\r', ' ', '\t', '#', '\u2028') }), (text) => {
        try {
          for (const row of parseCsv(text, 'file')) expect(row.length).toBeGreaterThan(0);
        } catch (error) {
          expect(error).toBeInstanceOf(CommandError);
        }
      }),
    );
  });
});

describe('a list of devices', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'gatehouse-csv-'));
  });
  afterEach(() => rm(folder, { recursive: true }));

  const read = async (content: string | Buffer) => {
    const path = join(folder, 'file');
    await writeFile(path, content);
    return readDeviceList(path);
  };
  const EK = 'ab'.repeat(32);

  it('is not read past 128 MiB', async () => {
    const path = join(folder, 'file');
    await writeFile(path, 'deviceId\n');
    await truncate(path, 129 * 1024 * 1024);
    await expect(readDeviceList(path)).rejects.toMatchObject({
      message: `${path} is larger than 128 MiB`,
      advice: expect.stringContaining('in parts'),
    });
  });

  it.each<[string, string | Buffer, unknown[]]>([
    [
      'all columns',
      `deviceId,group,hardwareSerial,owner,ekSha256\npress-07,line-3,SN-1,"Dupont, Jean",${EK.toUpperCase()}\n`,
      [{ deviceId: 'press-07', group: 'line-3', hardwareSerial: 'SN-1', owner: 'Dupont, Jean', ekSha256: EK, line: 2 }],
    ],
    [
      'the name alone',
      'deviceId\na\nb\n',
      [
        { deviceId: 'a', line: 2 },
        { deviceId: 'b', line: 3 },
      ],
    ],
    [
      'columns in another order, spelling and quotes',
      '"Hardware Serial",device_id\nSN-1,a\n',
      [{ deviceId: 'a', hardwareSerial: 'SN-1', line: 2 }],
    ],
    [
      'the semicolons of a spreadsheet, a byte order mark and Windows line ends',
      '\uFEFFdeviceId;owner\r\na;Jean, M.\r\n',
      [{ deviceId: 'a', owner: 'Jean, M.', line: 2 }],
    ],
    [
      'tabs',
      'deviceId\towner\na\t\nb\tx y\n',
      [
        { deviceId: 'a', line: 2 },
        { deviceId: 'b', owner: 'x y', line: 3 },
      ],
    ],
    ['empty cells left out', 'deviceId,group,owner\na,,\n', [{ deviceId: 'a', line: 2 }]],
    ['comments and empty lines', '# mine\n\ndeviceId\n# no\na\n\n', [{ deviceId: 'a', line: 5 }]],
    ['a header and nothing else', 'deviceId\n', []],
  ])('is read with %s', async (_, text, devices) => {
    expect(await read(text)).toEqual(devices);
  });

  it.each<[string, string | Buffer, RegExp]>([
    ['no lines', '', /is empty/],
    ['no header', 'press-07,line-3\n', /file:1:1: "press-07" is not a column: deviceId, group/],
    ['an unknown column', 'deviceId,gruop\n', /file:1:10: "gruop" is not a column/],
    ['no column of names', 'group\nx\n', /file:1: the column deviceId is missing/],
    ['a column twice', 'deviceId,device-id\n', /file:1: the column deviceId is there twice/],
    ['a device id that is none', 'deviceId,group\nok,g\na b,g\n', /file:3:1: deviceId: "a b" is not a device id/],
    ['no device id', 'group,deviceId\ng,\n', /file:2:3: deviceId: "" is not a device id/],
    ['a cell too many', 'deviceId,owner\na,Dupont, Jean\n', /file:2: 3 cells, and the first line names 2/],
    ['a cell too few', 'deviceId,owner\na\n', /file:2: 1 cells/],
    ['a hardware serial with other letters', 'deviceId,hardwareSerial\na,SN_1\n', /file:2:3: hardwareSerial: "SN_1"/],
    ['a hash that is none', 'deviceId,ekSha256\na,abc\n', /file:2:3: ekSha256: "abc" is not a SHA-256/],
    ['an owner of two lines', 'deviceId,owner\na,"x\ny"\n', /file:2:3: owner: line ends/],
    ['an owner without end', `deviceId,owner\na,${'x'.repeat(201)}\n`, /owner: 201 characters, and 200 are allowed/],
    ['a device twice', 'deviceId\na\nb\na\n', /file:4:1: deviceId: "a" stands in line 2 already/],
    ['a serial twice', 'deviceId,hardwareSerial\na,S\nb,S\n', /file:3:3: hardwareSerial: "S" stands in line 2/],
    ['UTF-16', Buffer.from('\uFEFFdeviceId\n', 'utf16le'), /is not text in UTF-8/],
    [
      'a code page of one country',
      Buffer.from('deviceId,owner\na,J\u00e9r\u00f4me\n', 'latin1'),
      /is not text in UTF-8/,
    ],
  ])('is refused for %s', async (_, text, message) => {
    await expect(read(text)).rejects.toThrow(message);
  });

  it('is refused with all faults at once, the first ten in full', async () => {
    const lines = Array.from({ length: 12 }, (_, index) => `no ${index}`);
    const error = await read(`deviceId\n${lines.join('\n')}\n`).catch((error: unknown) => error);
    const { message } = error as CommandError;
    expect(message.match(/is not a device id/g)).toHaveLength(10);
    expect(message).toMatch(/file:2:1: .*\n.*file:3:1: [^]*\nand 2 more$/);
  });

  it('may be long', async () => {
    const rows = Array.from({ length: 50_000 }, (_, index) => `d-${index},line-3,"SN ${index}"`);
    const devices = await read(`deviceId,group,hardwareSerial\n${rows.join('\n')}\n`);
    expect(devices).toHaveLength(50_000);
    expect(devices.at(-1)).toEqual({ deviceId: 'd-49999', group: 'line-3', hardwareSerial: 'SN 49999', line: 50_001 });
  });
});
