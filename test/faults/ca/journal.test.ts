import { appendFileSync, existsSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type JournalDisk, openFileJournal } from '#ca/keys/file-journal.ts';
import { parseCertificate } from '#ca/pkix/certificate.ts';
import type { JournalEntry } from '#ca/ports/journal.ts';
import { deviceOrder, newSerial, openTestAuthority } from '#test/fixtures/ca/authority.ts';
import { DAY, makeIntermediate, makeRoot, NOW } from '#test/fixtures/ca/certificates.ts';
import { tempFolder } from '#test/fixtures/ca/temp-folder.ts';

/** The real disk, which a test can let fail at its next write or sync. */
class FaultyDisk implements JournalDisk {
  readonly #file: FileHandle;
  failing: 'nothing' | 'write' | 'half a write' | 'sync' | 'truncate' = 'nothing';
  syncs = 0;

  constructor(file: FileHandle) {
    this.#file = file;
  }

  async write(bytes: Buffer, position: number): Promise<void> {
    if (this.failing === 'write') throw new Error('EIO');
    const isHalf = this.failing === 'half a write' || this.failing === 'truncate';
    await this.#file.write(bytes, 0, isHalf ? bytes.length / 2 : bytes.length, position);
    if (isHalf) throw new Error('ENOSPC');
  }

  async sync(): Promise<void> {
    this.syncs += 1;
    if (this.failing === 'sync') throw new Error('EIO');
    await this.#file.datasync();
  }

  async truncate(length: number): Promise<void> {
    if (this.failing === 'truncate') throw new Error('EIO');
    await this.#file.truncate(length);
  }
}

function faulty() {
  const held: { disk?: FaultyDisk; broken: number } = { broken: 0 };
  const options = {
    disk: (file: FileHandle) => (held.disk = new FaultyDisk(file)),
    onBroken: () => {
      held.broken += 1;
    },
  };
  return {
    options,
    fail: (how: FaultyDisk['failing']) => {
      if (held.disk) held.disk.failing = how;
    },
    brokenCount: () => held.broken,
    syncs: () => held.disk?.syncs ?? 0,
  };
}

function crl(number: number): JournalEntry {
  return { kind: 'crl', at: NOW, number, thisUpdate: NOW + number * 1000, sha256: 'ab' };
}

function intent(subject = 'x'): JournalEntry & { kind: 'intent' } {
  return { kind: 'intent', at: NOW, serial: newSerial(), profile: 'device', subject, orderSha256: 'cd', tbs: 'AAAA' };
}

describe('journal', () => {
  it('is for its owner only', async () => {
    const path = join(tempFolder(), 'journal.jsonl');
    const journal = await openFileJournal(path);
    await journal.close();
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(statSync(`${path}.lock`).mode & 0o777).toBe(0o600);
  });

  it('is opened once at a time', async () => {
    const path = join(tempFolder(), 'journal.jsonl');
    const journal = await openFileJournal(path);
    await expect(openFileJournal(path)).rejects.toThrow(/another authority/);
    await journal.close();
    await (await openFileJournal(path)).close();
  });

  it('writes what waits together with one fsync', async () => {
    const fault = faulty();
    const { journal } = await openTestAuthority(fault.options);
    await Promise.all(Array.from({ length: 500 }, () => journal.append(intent())));
    expect(fault.syncs()).toBe(1);
  });

  it('keeps every line apart, whatever the names in it', async () => {
    const path = join(tempFolder(), 'journal.jsonl');
    const journal = await openFileJournal(path);
    const entry = intent('a\n{"kind":"crl"} \u2028 ü');
    await journal.append(entry);
    await journal.append(crl(3));
    await journal.close();
    const again = await openFileJournal(path);
    expect(await again.find(entry.serial)).toMatchObject({ kind: 'intent', orderSha256: 'cd' });
    expect(again.lastCrl()).toEqual({ number: 3, thisUpdate: NOW + 3000 });
    await again.close();
  });

  it('refuses entries once closed', async () => {
    const journal = await openFileJournal(join(tempFolder(), 'journal.jsonl'));
    await journal.close();
    await expect(journal.append(crl(1))).rejects.toMatchObject({ code: 'JOURNAL_FAILED' });
  });
});

describe('a start after a crash', () => {
  it.each([
    ['half a line', (whole: Buffer) => whole.subarray(0, whole.indexOf(10) - 20)],
    ['a line without its end', (whole: Buffer) => whole.subarray(0, whole.indexOf(10))],
    ['a page of zeros', () => Buffer.alloc(4096)],
    [
      'a line with a hole, and whole lines after it',
      (whole: Buffer) => {
        const torn = Buffer.from(whole);
        torn.fill(0, 130, 150);
        return torn;
      },
    ],
    ['a line with a hole in its head', (whole: Buffer) => Buffer.concat([Buffer.alloc(20), whole.subarray(20)])],
  ])('cuts off %s, keeps it aside, and goes on', async (_what, tear) => {
    const { path, entries, whole } = await written();
    const torn = tear(whole);
    appendFileSync(path, torn);
    const journal = await openFileJournal(path);
    expect(journal.tornBytes).toBe(torn.length);
    expect(readFileSync(`${path}.torn-${whole.length}`)).toEqual(torn);
    expect(readFileSync(path)).toEqual(whole);
    for (const { serial } of entries) expect(await journal.find(serial)).toMatchObject({ kind: 'intent' });
    expect(journal.lastCrl().number).toBe(9);
    const next = intent();
    await journal.append(next);
    await journal.close();
    const again = await openFileJournal(path);
    expect(again.tornBytes).toBe(0);
    expect(await again.find(next.serial)).toMatchObject({ kind: 'intent' });
    await again.close();
  });

  it('stands any cut of the last line', async () => {
    const { path, whole } = await written();
    const lastStart = whole.lastIndexOf(10, whole.length - 2) + 1;
    for (let cut = lastStart; cut < whole.length; cut += 7) {
      writeFileSync(path, whole.subarray(0, cut));
      const journal = await openFileJournal(path);
      expect(journal.lastCrl().number).toBe(0);
      expect(statSync(path).size).toBe(lastStart);
      await journal.close();
    }
  });

  it('refuses a journal that is damaged far from its end', async () => {
    const path = join(tempFolder(), 'journal.jsonl');
    const journal = await openFileJournal(path);
    const big = { ...intent(), tbs: 'A'.repeat(60_000) };
    const entries = Array.from({ length: 120 }, () => ({ ...big, serial: newSerial() }));
    await Promise.all(entries.map((entry) => journal.append(entry)));
    await journal.close();
    const bytes = readFileSync(path);
    // The inside of the first line: found when it is asked for.
    bytes.fill(0, 30_000, 30_100);
    writeFileSync(path, bytes);
    const damaged = await openFileJournal(path);
    await expect(damaged.find(big.serial)).resolves.toBeUndefined();
    await expect(damaged.find(entries[0]?.serial ?? big.serial)).rejects.toMatchObject({ code: 'JOURNAL_FAILED' });
    await damaged.close();
    // A line's head: found at once.
    bytes.fill(0, bytes.indexOf(10) + 1, bytes.indexOf(10) + 20);
    writeFileSync(path, bytes);
    await expect(openFileJournal(path)).rejects.toThrow(/damaged at octet 60\d\d\d/);
    expect(readFileSync(path)).toEqual(bytes);
    // The lock was given back.
    truncateSync(path, 0);
    await (await openFileJournal(path)).close();
  });
});

describe('issuing on a failing disk', () => {
  it.each(['write', 'half a write'] as const)('fails after %s and succeeds when the disk does', async (how) => {
    const fault = faulty();
    const { authority, journalPath } = await openTestAuthority(fault.options);
    const before = await authority.issue(deviceOrder());
    const sizeBefore = statSync(journalPath).size;
    fault.fail(how);
    const order = deviceOrder();
    await expect(authority.issue(order)).rejects.toMatchObject({ code: 'JOURNAL_FAILED' });
    expect(await authority.findIssued(order.serial)).toBeUndefined();
    expect(statSync(journalPath).size).toBe(sizeBefore);
    fault.fail('nothing');
    const der = await authority.issue(order);
    expect(await authority.findIssued(order.serial)).toEqual(der);
    expect(await authority.findIssued(parseCertificate(before).serial as never)).toEqual(before);
    expect(fault.brokenCount()).toBe(0);
  });

  it.each(['sync', 'truncate'] as const)(
    'signs nothing any more after a failed %s, and asks to be started again',
    async (how) => {
      const fault = faulty();
      const { authority } = await openTestAuthority(fault.options);
      fault.fail(how);
      await expect(authority.issue(deviceOrder())).rejects.toMatchObject({ code: 'JOURNAL_FAILED' });
      fault.fail('nothing');
      await expect(authority.issue(deviceOrder())).rejects.toMatchObject({ code: 'JOURNAL_FAILED' });
      const order = { number: 1, thisUpdate: NOW, nextUpdate: NOW + DAY, entries: Buffer.alloc(0) };
      await expect(authority.signCrl(order)).rejects.toMatchObject({ code: 'JOURNAL_FAILED' });
      expect(fault.brokenCount()).toBe(1);
    },
  );
});

describe('a restart in the middle of an order', () => {
  const root = makeRoot();
  const intermediate = makeIntermediate(root);

  it('after the intent: the very same octets are signed, even a day later', async () => {
    const dir = tempFolder();
    const first = await openTestAuthority({ dir, root, intermediate });
    const order = deviceOrder();
    const issued = await first.authority.issue(order);
    await first.journal.close();
    const lines = readFileSync(first.journalPath, 'utf8').split('\n');
    expect(lines.map((line) => line.slice(0, 15))).toEqual(['{"kind":"intent', '{"kind":"certif', '']);
    // As if the power had gone before the certificate was recorded, and so before it was given away.
    writeFileSync(first.journalPath, `${lines[0]}\n`);

    const second = await openTestAuthority({ dir, root, intermediate, now: NOW + DAY });
    expect(await second.authority.findIssued(order.serial)).toBeUndefined();
    const again = await second.authority.issue(order);
    expect(parseCertificate(again).tbs).toEqual(parseCertificate(issued).tbs);
    expect(await second.authority.findIssued(order.serial)).toEqual(again);
  });

  it('after the certificate, its answer lost: the very same certificate is given', async () => {
    const dir = tempFolder();
    const first = await openTestAuthority({ dir, root, intermediate });
    const order = deviceOrder();
    const issued = await first.authority.issue(order);
    await first.journal.close();
    const second = await openTestAuthority({ dir, root, intermediate, now: NOW + DAY });
    expect(await second.authority.findIssued(order.serial)).toEqual(issued);
    expect(await second.authority.issue(order)).toEqual(issued);
    await expect(second.authority.issue({ ...order, lifetimeSeconds: 60 })).rejects.toMatchObject({
      code: 'SERIAL_REUSED',
    });
  });

  it('does not sign an intent that was changed on the disk', async () => {
    const dir = tempFolder();
    const first = await openTestAuthority({ dir, root, intermediate });
    const order = deviceOrder();
    await first.authority.issue(order);
    await first.journal.close();
    const [line = ''] = readFileSync(first.journalPath, 'utf8').split('\n');
    const entry = JSON.parse(line);
    const tbs = Buffer.from(entry.tbs, 'base64');
    tbs.write('pump-2', tbs.lastIndexOf('pump-1'));
    writeFileSync(first.journalPath, `${JSON.stringify({ ...entry, tbs: tbs.toString('base64') })}\n`);
    const second = await openTestAuthority({ dir, root, intermediate });
    await expect(second.authority.issue(order)).rejects.toMatchObject({ code: 'LINT_FAILED' });
  });

  it('CRL numbers never go back', async () => {
    const dir = tempFolder();
    const empty = Buffer.alloc(0);
    const first = await openTestAuthority({ dir, root, intermediate });
    await first.authority.signCrl({ number: 7, thisUpdate: NOW, nextUpdate: NOW + DAY, entries: empty });
    await first.journal.close();
    const second = await openTestAuthority({ dir, root, intermediate });
    expect((await second.authority.describe()).lastCrlNumber).toBe(7);
    const order = { number: 7, thisUpdate: NOW + 5000, nextUpdate: NOW + DAY, entries: empty };
    await expect(second.authority.signCrl(order)).rejects.toMatchObject({ code: 'CRL_REFUSED' });
    await expect(second.authority.signCrl({ ...order, number: 8, thisUpdate: NOW })).rejects.toMatchObject({
      code: 'CRL_REFUSED',
    });
    expect(existsSync(second.journalPath)).toBe(true);
  });
});

async function written() {
  const path = join(tempFolder(), 'journal.jsonl');
  const journal = await openFileJournal(path);
  const entries = [intent(), intent()];
  for (const entry of entries) await journal.append(entry);
  await journal.append(crl(9));
  await journal.close();
  return { path, entries, whole: readFileSync(path) };
}
