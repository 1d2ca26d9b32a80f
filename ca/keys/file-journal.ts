import { type FileHandle, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setImmediate, setTimeout } from 'node:timers/promises';
import { AuthorityError, type IssuedPage } from '#ca/ports/certificate-authority.ts';
import type { SerialNumber } from '#ca/ports/issuance-order.ts';
import type { Journal, JournalEntry, JournaledIssuance, SignedList } from '#ca/ports/journal.ts';
import { takeExclusiveLock } from './exclusive-lock.ts';
import { formatJournalLine, parseJournalLine } from './journal-line.ts';
import { readIssuedFrom } from './read-issued.ts';
import { MAX_TORN_BYTES, recoverJournal } from './recover-journal.ts';
import type { SerialIndex } from './serial-index.ts';
import type { SignedLists } from './signed-lists.ts';

/** The writes of a journal, so that a test can let them fail. */
export type JournalDisk = {
  write(bytes: Buffer, position: number): Promise<void>;
  sync(): Promise<void>;
  truncate(length: number): Promise<void>;
};

export type FileJournalOptions = {
  disk?: (file: FileHandle) => JournalDisk;
  /** Called once when nothing can be written any more; the process has to start again and see what reached the disk. */
  onBroken?: (error: AuthorityError) => void;
  /** Milliseconds that one who has it open is waited for; left out: not at all. `onHeld`: when that begins. */
  patienceMs?: number;
  onHeld?: () => void;
};

type Waiting = { entry: JournalEntry; line: Buffer; resolve: () => void; reject: (error: AuthorityError) => void };

/** Half of what a start takes for torn: a group is never mistaken for damage. */
const MAX_GROUP_BYTES = MAX_TORN_BYTES / 2;
const LINE_CHUNK = 8 * 1024;

/**
 * JSON Lines, appended to and never rewritten, 0600. Entries that wait together are written and fsynced as one group.
 * Only one process, and only once, can have it open.
 * @throws AuthorityError AUTHORITY_FAILED when it is open already, JOURNAL_FAILED when it is damaged
 */
export async function openFileJournal(path: string, options: FileJournalOptions = {}): Promise<FileJournal> {
  const lock = await takeLock(`${path}.lock`, options);
  let file: FileHandle | undefined;
  try {
    // Not O_APPEND: positions are our own, so that a half-written group can be overwritten.
    file = await open(path, 'r+').catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
      return open(path, 'wx+', 0o600);
    });
    await syncFolder(dirname(path));
    const { index, lists, length, tornBytes } = await recoverJournal(file, path);
    const disk = (options.disk ?? createDisk)(file);
    return new FileJournal({ file, disk, lock, index, lists, length, tornBytes, onBroken: options.onBroken });
  } catch (cause) {
    await file?.close();
    lock.release();
    if (cause instanceof AuthorityError) throw cause;
    throw new AuthorityError('JOURNAL_FAILED', `the journal ${path} cannot be opened`, { cause });
  }
}

const LOOK_AGAIN_MS = 100;

async function takeLock(path: string, { patienceMs = 0, onHeld }: FileJournalOptions): Promise<{ release(): void }> {
  for (let waited = 0; ; waited += LOOK_AGAIN_MS) {
    try {
      return takeExclusiveLock(path);
    } catch (error) {
      if (waited >= patienceMs) throw error;
    }
    if (waited === 0) onHeld?.();
    await setTimeout(LOOK_AGAIN_MS);
  }
}

type Opened = {
  file: FileHandle;
  disk: JournalDisk;
  lock: { release(): void };
  index: SerialIndex;
  lists: SignedLists;
  length: number;
  tornBytes: number;
  onBroken: ((error: AuthorityError) => void) | undefined;
};

export class FileJournal implements Journal {
  /** Octets cut off at the start because a crash had torn them; for the log. */
  readonly tornBytes: number;
  readonly #opened: Opened;
  readonly #waiting: Waiting[] = [];
  #writing: Promise<void> | undefined;
  #broken: AuthorityError | undefined;
  #closed = false;

  constructor(opened: Opened) {
    this.#opened = opened;
    this.tornBytes = opened.tornBytes;
  }

  append(entry: JournalEntry): Promise<void> {
    if (this.#broken !== undefined) return Promise.reject(this.#broken);
    if (this.#closed) return Promise.reject(new AuthorityError('JOURNAL_FAILED', 'the journal is closed'));
    return new Promise((resolve, reject) => {
      this.#waiting.push({ entry, line: Buffer.from(formatJournalLine(entry), 'utf8'), resolve, reject });
      this.#writing ??= this.#writeGroups();
    });
  }

  async find(serial: SerialNumber): Promise<JournaledIssuance | undefined> {
    const offset = this.#opened.index.get(serial);
    if (offset === undefined) return undefined;
    const entry = parseJournalLine(await this.#readLine(offset));
    if (entry === undefined || entry.kind === 'crl' || entry.serial !== serial) {
      throw new AuthorityError('JOURNAL_FAILED', `the journal changed under us at octet ${offset}`);
    }
    const { orderSha256 } = entry;
    return entry.kind === 'intent'
      ? { kind: 'intent', orderSha256, tbs: Buffer.from(entry.tbs, 'base64') }
      : { kind: 'certificate', orderSha256, der: Buffer.from(entry.der, 'base64') };
  }

  lastCrl(scope?: string): SignedList {
    return this.#opened.lists.last(scope);
  }

  get length(): number {
    return this.#opened.length;
  }

  readIssued(from: number): Promise<IssuedPage> {
    return readIssuedFrom(this.#opened.file, from, this.#opened.length);
  }

  /** Waits for what was appended, then lets the lock go. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#writing;
    await this.#opened.file.close();
    this.#opened.lock.release();
  }

  async #writeGroups(): Promise<void> {
    // Everything that arrives in this turn of the event loop goes into the first group.
    await setImmediate();
    while (this.#waiting.length > 0) {
      const group = this.#takeGroup();
      try {
        await this.#writeGroup(group);
        for (const { resolve } of group) resolve();
      } catch (cause) {
        const error = new AuthorityError('JOURNAL_FAILED', 'the journal could not be written', { cause });
        for (const { reject } of group) reject(this.#broken ?? error);
      }
    }
    this.#writing = undefined;
  }

  #takeGroup(): Waiting[] {
    let bytes = 0;
    let count = 0;
    for (const { line } of this.#waiting) {
      bytes += line.length;
      if (count > 0 && bytes > MAX_GROUP_BYTES) break;
      count += 1;
    }
    return this.#waiting.splice(0, count);
  }

  async #writeGroup(group: Waiting[]): Promise<void> {
    if (this.#broken !== undefined) throw this.#broken;
    const { disk, index } = this.#opened;
    const start = this.#opened.length;
    try {
      await disk.write(Buffer.concat(group.map(({ line }) => line)), start);
    } catch (cause) {
      // A full disk, say: nobody was told of these lines, so they go, and the next group may do better.
      await disk.truncate(start).catch((error: unknown) => this.#break(error));
      throw cause;
    }
    try {
      await disk.sync();
    } catch (cause) {
      // After a failed fsync nobody knows what is on the disk, and asking again would lie (the pages count as clean).
      this.#break(cause);
      throw cause;
    }
    let offset = start;
    for (const { entry, line } of group) {
      if (entry.kind === 'crl') this.#opened.lists.add(entry.scope, entry);
      else index.set(entry.serial, offset);
      offset += line.length;
    }
    this.#opened.length = offset;
  }

  #break(cause: unknown): void {
    if (this.#broken !== undefined) return;
    this.#broken = new AuthorityError('JOURNAL_FAILED', 'the journal is broken until the authority starts again', {
      cause,
    });
    this.#opened.onBroken?.(this.#broken);
  }

  async #readLine(offset: number): Promise<Buffer> {
    let line = Buffer.alloc(0);
    for (;;) {
      const chunk = Buffer.alloc(LINE_CHUNK);
      const { bytesRead } = await this.#opened.file.read(chunk, 0, LINE_CHUNK, offset + line.length);
      const end = chunk.subarray(0, bytesRead).indexOf(10);
      if (end !== -1) return Buffer.concat([line, chunk.subarray(0, end)]);
      if (bytesRead === 0) throw new AuthorityError('JOURNAL_FAILED', 'the journal became shorter');
      line = Buffer.concat([line, chunk.subarray(0, bytesRead)]);
    }
  }
}

function createDisk(file: FileHandle): JournalDisk {
  return {
    write: async (bytes, position) => {
      for (let at = 0; at < bytes.length; ) {
        const { bytesWritten } = await file.write(bytes, at, bytes.length - at, position + at);
        at += bytesWritten;
      }
    },
    sync: () => file.datasync(),
    truncate: (length) => file.truncate(length),
  };
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
