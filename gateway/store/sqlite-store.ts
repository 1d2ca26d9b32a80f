import { randomUUID } from 'node:crypto';
import { open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Kysely } from 'kysely';
import { type Store, StoreError, type Tables } from '#gateway/ports/store.ts';
import { GroupCommit } from './group-commit.ts';
import { migrate } from './migrate.ts';
import { QueryPlans, QueryScope } from './query-scope.ts';
import type { Database } from './schema.ts';
import { sqlTables } from './sql-tables.ts';
import { SQLITE_COLUMN_TYPES, SqliteConnection, sqliteDialect } from './sqlite-connection.ts';

export type SqliteStoreOptions = {
  /** Milliseconds to wait while another process writes, before a write is refused. Default 5000. */
  busyMs?: number;
  /** Milliseconds one work may take before it is given up and taken back. Default 10 000. */
  workLimitMs?: number;
  /** Bytes the database may grow to; writes that need more reject UNAVAILABLE. Default: no limit but the disk. */
  maxBytes?: number;
  /** Read the whole file for damage first: about a second for each gigabyte. Default true. */
  check?: boolean;
};

/** With more waiting than this a batch holds the event loop longer than it saves in flushes. */
const BATCH_SIZE = 128;

/** What `probe` writes; a value that does not change would write nothing. */
const PROBE_SETTING = 'store.probe';

/**
 * Opens the SQLite file, made with mode 0600 when it is not there, and brings its schema up to date. Several processes
 * may have the same file open; writes take turns.
 * @throws StoreError SCHEMA_TOO_NEW, CORRUPT, or UNAVAILABLE when the file cannot be opened or written.
 */
export async function openSqliteStore(path: string, options: SqliteStoreOptions = {}): Promise<Store> {
  await createFile(path);
  const settings = { busyMs: options.busyMs ?? 5000, maxBytes: options.maxBytes };
  const writer = SqliteConnection.openWriter(path, settings);
  let reader: SqliteConnection | undefined;
  try {
    if (options.check ?? true) writer.check();
    const writeDb = new Kysely<Database>({ dialect: sqliteDialect(writer) });
    await migrateExclusively(writer, writeDb);
    reader = SqliteConnection.openReader(path, settings);
    return new SqliteStore(writer, reader, writeDb, options.workLimitMs ?? 10_000);
  } catch (error) {
    reader?.close();
    writer.close();
    throw error;
  }
}

class SqliteStore implements Store {
  readonly read: Tables;
  readonly #writer: SqliteConnection;
  readonly #reader: SqliteConnection;
  readonly #commits: GroupCommit;
  #closing: Promise<void> | undefined;

  constructor(writer: SqliteConnection, reader: SqliteConnection, writeDb: Kysely<Database>, workLimitMs: number) {
    this.#writer = writer;
    this.#reader = reader;
    const plans = new QueryPlans();
    this.read = sqlTables(new QueryScope(new Kysely<Database>({ dialect: sqliteDialect(reader) }), plans));
    const openTables = () => {
      const scope = new QueryScope(writeDb, plans);
      return { tables: sqlTables(scope), end: () => scope.end() };
    };
    this.#commits = new GroupCommit(writer, openTables, { batchSize: BATCH_SIZE, workLimitMs });
  }

  write<T>(work: (tables: Tables) => Promise<T>): Promise<T> {
    return this.#commits.write(work);
  }

  probe(): Promise<void> {
    return this.write(({ settings }) => settings.set(PROBE_SETTING, randomUUID()));
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#commits.close();
    // The reader first: the last connection to leave puts the WAL back into the database file.
    this.#reader.close();
    this.#writer.close();
  }
}

async function migrateExclusively(writer: SqliteConnection, db: Kysely<Database>): Promise<void> {
  writer.begin();
  try {
    await migrate(db, SQLITE_COLUMN_TYPES);
    writer.claim();
    writer.commit();
  } catch (error) {
    if (writer.inTransaction) writer.rollback();
    throw error;
  }
}

/** SQLite gives its -wal and -shm files the mode of the database file, so that mode has to be right from the start. */
async function createFile(path: string): Promise<void> {
  try {
    await using file = await open(path, 'wx', 0o600);
    // Whatever the umask took away.
    await file.chmod(0o600);
    // The name of the file has to survive a power cut too.
    await using folder = await open(dirname(path), 'r');
    await folder.sync();
  } catch (cause) {
    if (isSystemError(cause) && cause.code === 'EEXIST') return;
    throw new StoreError('UNAVAILABLE', `the database ${path} cannot be made: ${String(cause)}`, { cause });
  }
}

function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && 'code' in error;
}
