import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readCertificateFile } from '#scripts/command-line/read-certificate-file.ts';
import { readEkList } from '#scripts/command-line/read-ek-list.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gatehouse-files-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function fileOf(content: string | Buffer): Promise<string> {
  const path = join(folder, 'file');
  await writeFile(path, content);
  return path;
}

const [ONE, TWO] = ['ab'.repeat(32), 'cd'.repeat(32)];

describe('a list of endorsement keys', () => {
  it.each([
    ['one column', `${ONE}\n${TWO}`, [{ ekSha256: ONE }, { ekSha256: TWO }]],
    [
      'a header, Windows line ends and a byte order mark',
      `\uFEFFEK_SHA256,device\r\n${ONE},a\r\n`,
      [{ ekSha256: ONE, deviceId: 'a' }],
    ],
    ['capitals and colons', 'AB:'.repeat(31) + 'AB', [{ ekSha256: ONE }]],
    ['a note with a comma', `${ONE},,box 7, shelf 2`, [{ ekSha256: ONE, note: 'box 7, shelf 2' }]],
    ['comments and empty lines', `# mine\n\n${ONE}\n`, [{ ekSha256: ONE }]],
    ['nothing', '', []],
  ])('is read with %s', async (_, text, entries) => {
    expect(await readEkList(await fileOf(text))).toEqual(entries);
  });

  it('gives the note of the command to lines without one', async () => {
    const entries = await readEkList(await fileOf(`${ONE}\n${TWO},,own`), 'delivery 7');
    expect(entries.map(({ note }) => note)).toEqual(['delivery 7', 'own']);
  });

  it.each([
    ['a hash that is none', `${ONE}\nxyz`, /file:2: /],
    ['a header in the middle', `${ONE}\nsha256`, /file:2: /],
    ['a device that is none', `${ONE},not a device`, /file:1: .*not a device id/],
  ])('is refused as a whole for %s, naming the line', async (_, text, message) => {
    await expect(readEkList(await fileOf(text))).rejects.toThrow(message);
  });

  it('that is not there is told', async () => {
    await expect(readEkList(join(folder, 'none'))).rejects.toThrow(/cannot be read/);
  });
});

function block(base64: string): string {
  return `text\n-----BEGIN CERTIFICATE-----\n${base64}\n-----END CERTIFICATE-----\n`;
}

describe('a file of certificates', () => {
  it('is read as PEM blocks with anything around, or as DER', async () => {
    expect(await readCertificateFile(await fileOf(block('MAA=') + block('MAEA')))).toEqual([
      Buffer.from('3000', 'hex'),
      Buffer.from('300100', 'hex'),
    ]);
    const der = Buffer.from('3003020101', 'hex');
    expect(await readCertificateFile(await fileOf(der))).toEqual([der]);
  });

  it.each(['nothing', '', '-----BEGIN PRIVATE KEY-----'])('is refused when it is "%s"', async (text) => {
    await expect(readCertificateFile(await fileOf(text))).rejects.toThrow(/holds no certificate/);
  });
});
