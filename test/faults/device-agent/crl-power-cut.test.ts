import { describe, expect, test } from 'vitest';
import { formatPem } from '#ca/pkix/pem.ts';
import { CrlShelf } from '#device-agent/operations/crl-shelf.ts';
import { silentLog } from '#device-agent/runtime/json-log.ts';
import { FileCrlFolder } from '#device-agent/state/file-crl-folder.ts';
import { type Made, makeIntermediate, makeRoot, NOW } from '#test/fixtures/ca/certificates.ts';
import { makeCrl } from '#test/fixtures/device-agent/make-crl.ts';
import { everyCut } from '#test/fixtures/device-agent/power-cut-boots.ts';
import { PowerCutDisk, REMAINS, type Remains } from '#test/fixtures/device-agent/power-cut-disk.ts';

const root = makeRoot();
const [older, newer] = [makeIntermediate(root), makeIntermediate(root)];
const listOf = (by: Made, number: number) => makeCrl({ by, number });
const lists = {
  older: [listOf(older, 1), listOf(older, 2)],
  newer: [listOf(newer, 1), listOf(newer, 3)],
} as const;
const keyIdOf = ({ certificate }: Made) => certificate.subjectKeyId ?? '';
const trust = () => ({
  anchors: [root.certificate.der],
  issuers: [older.certificate.der, newer.certificate.der],
  at: NOW,
});

/** What is fetched is what the URL says, in base64url. */
const urlOf = (der: Buffer) => `http://gate/${der.toString('base64url')}`;

async function boot(disk: PowerCutDisk): Promise<{ folder: FileCrlFolder; shelf: CrlShelf }> {
  const fetch = async (url: string, path: string) => {
    await disk.writeFile(path, Buffer.from(url.slice(url.lastIndexOf('/') + 1), 'base64url'));
    await disk.syncFile(path);
    return { kind: 'fetched' as const, etag: undefined };
  };
  const folder = new FileCrlFolder('/', fetch, disk);
  return { folder, shelf: await CrlShelf.open({ crl: folder, log: silentLog }, trust) };
}

type Booted = Awaited<ReturnType<typeof boot>>;

/** As the keeper does it: fetched, verified, put; not again when it is there. */
async function bring({ folder, shelf }: Booted, der: Buffer): Promise<void> {
  const { signal } = new AbortController();
  const answer = await folder.download(urlOf(der), { etag: undefined, maxBytes: 10_000, signal });
  if (answer.kind !== 'fetched') throw new Error('nothing came');
  const fetched = shelf.verify(answer.der);
  if ((shelf.find(fetched.authorityKeyId)?.number ?? -1) < fetched.number) await shelf.put(fetched);
}

/** The CA in use changes, both have newer lists, and then the older one is not named any more. */
async function change(booted: Booted): Promise<void> {
  await bring(booted, lists.newer[1]);
  await booted.shelf.choose(keyIdOf(newer));
  if (booted.shelf.find(keyIdOf(older))) await bring(booted, lists.older[1]);
  await booted.shelf.clear([keyIdOf(newer)]);
}

describe.each(REMAINS)('after a power cut at any step (%s)', (remains: Remains) => {
  test('every CRL is one that was verified, all are in one file, and the next try has the newest', async () => {
    const cuts = await everyCut(async (cutAt) => {
      const where = `cut at ${cutAt}`;
      const disk = new PowerCutDisk();
      const before = await boot(disk);
      await bring(before, lists.older[0]);
      await before.shelf.choose(keyIdOf(older));
      await bring(before, lists.newer[0]);
      disk.cutAfter(cutAt);
      await change(before).catch((error: unknown) => {
        if (!disk.isOff) throw error;
      });
      const isCut = disk.isOff;
      const next = isCut ? disk.afterCut(remains) : disk;
      next.cutAfter(Number.POSITIVE_INFINITY);
      const after = await boot(next);
      const found = await after.folder.readCrls();
      for (const [keyId, der] of found) {
        expect(
          [...lists.older, ...lists.newer].some((list) => list.equals(der)),
          where,
        ).toBe(true);
        expect(after.shelf.find(keyId), where).toBeDefined();
      }
      const chosen = await after.folder.readChosen();
      if (chosen !== undefined) expect(found.has(chosen), where).toBe(true);
      const together = after.shelf.all().map(({ authorityKeyId }) => found.get(authorityKeyId) ?? Buffer.alloc(0));
      const pem = together.map((der) => formatPem('X509 CRL', der)).join('');
      expect(String(await next.readFile('/crl/all.pem')), where).toBe(pem);
      await change(after);
      expect([...(await after.folder.readCrls()).values()], where).toEqual([lists.newer[1]]);
      expect(await after.folder.readChosen(), where).toBe(keyIdOf(newer));
      return isCut ? 'cut' : 'through';
    });
    expect(cuts).toBeGreaterThan(30);
  });
});
