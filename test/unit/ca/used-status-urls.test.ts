import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, it } from 'vitest';
import { useStatusUrl } from '#ca/ceremony/used-status-urls.ts';
import { DAY, NOW } from '#test/fixtures/ca/certificates.ts';
import { tempFolder } from '#test/fixtures/ca/temp-folder.ts';

const [here, there, elsewhere] = ['http://10.0.0.7:8080', 'http://gate.example', 'http://gate2.example'];

let dir: string;
beforeEach(() => {
  dir = tempFolder();
});

const written = () => JSON.parse(readFileSync(join(dir, 'status-urls.json'), 'utf8')) as { current: string };

it('remembers where status was to be had, newest first, and the place of now not twice', async () => {
  expect(await useStatusUrl(dir, `${here}/`, NOW)).toEqual([]);
  expect(written()).toEqual({ version: 1, current: here, former: [] });
  expect(await useStatusUrl(dir, here, NOW + DAY)).toEqual([]);
  expect(await useStatusUrl(dir, there, NOW + 2 * DAY)).toEqual([here]);
  expect(await useStatusUrl(dir, elsewhere, NOW + 3 * DAY)).toEqual([there, here]);
  expect(await useStatusUrl(dir, here, NOW + 4 * DAY)).toEqual([elsewhere, there]);
  expect(await useStatusUrl(dir, here, NOW + 5 * DAY)).toEqual([elsewhere, there]);
});

it('forgets a place when no certificate can name it any more, counted from when it was left', async () => {
  await useStatusUrl(dir, here, NOW);
  // It ran for two years: its newest certificate is of yesterday.
  const left = NOW + 730 * DAY;
  await useStatusUrl(dir, there, left);
  expect(await useStatusUrl(dir, there, left + 399 * DAY)).toEqual([here]);
  expect(await useStatusUrl(dir, there, left + 401 * DAY)).toEqual([]);
  expect(await useStatusUrl(dir, elsewhere, left + 401 * DAY)).toEqual([there]);
});

it('keeps a bounded number of them', async () => {
  for (let day = 0; day < 40; day += 1) await useStatusUrl(dir, `http://10.0.0.${day}`, NOW + day * DAY);
  const former = await useStatusUrl(dir, here, NOW + 40 * DAY);
  expect(former).toHaveLength(16);
  expect(former[0]).toBe('http://10.0.0.39');
});

it.each(['', '{}', '{"version":2,"current":"http://x","former":[]}'])(
  'starts no authority that might forget a place: %j',
  async (text) => {
    writeFileSync(join(dir, 'status-urls.json'), text);
    await expect(useStatusUrl(dir, here, NOW)).rejects.toMatchObject({ code: 'AUTHORITY_FAILED' });
  },
);
