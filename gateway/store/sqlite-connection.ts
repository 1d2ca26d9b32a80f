import Sqlite from 'better-sqlite3';
import {
  type CompiledQuery,
  type DatabaseConnection,
  type Dialect,
  type QueryResult,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
} from 'kysely';
import { StoreError, type StoreErrorCode } from '#gateway/ports/store.ts';
import type { WriteConnection } from './group-commit.ts';
import type { ColumnTypes } from './migrations/migration.ts';

/** All that only SQLite understands stands in this file. */

export const SQLITE_COLUMN_TYPES: ColumnTypes = {
  bytes: 'blob',
  countedId: 'integer',
  // AUTOINCREMENT: without it, ids start again once the newest rows are pruned, and cursors would skip.
  counted: (column) => column.primaryKey().autoIncrement(),
};

/** "GTHS": tells our files from those of other programs. */
const APPLICATION_ID = 0x47544853;

/** A WAL that a burst made large shrinks back to this at the next checkpoint. Bytes. */
const WAL_SIZE_LIMIT = 64 * 1024 * 1024;

/** Our own queries are about a hundred; the lists with optional filters add a few. */
const STATEMENT_CACHE_SIZE = 256;

type SqliteSettings = {
  /** Milliseconds to wait for another process's write; the thread is held meanwhile. */
  busyMs: number;
  /** Bytes the database file may grow to; writes that need more are refused. */
  maxBytes?: number | undefined;
};

/** One connection; better-sqlite3 is synchronous, so a query has run when `executeQuery` returns its promise. */
export class SqliteConnection implements DatabaseConnection, WriteConnection {
  readonly #file: Sqlite.Database;
  readonly #statements = new Map<string, Sqlite.Statement>();
  readonly #begin: Sqlite.Statement;
  readonly #commit: Sqlite.Statement;
  readonly #savepoint: Sqlite.Statement;
  readonly #release: Sqlite.Statement;

  private constructor(file: Sqlite.Database) {
    this.#file = file;
    // IMMEDIATE: the write lock is taken here, where waiting is safe, and not in the middle of a work.
    this.#begin = file.prepare('BEGIN IMMEDIATE');
    this.#commit = file.prepare('COMMIT');
    this.#savepoint = file.prepare('SAVEPOINT work');
    this.#release = file.prepare('RELEASE work');
  }

  /** @throws StoreError CORRUPT when the file is not a database of ours, UNAVAILABLE when it cannot be opened. */
  static openWriter(path: string, { busyMs, maxBytes }: SqliteSettings): SqliteConnection {
    return translated(() => {
      const file = new Sqlite(path, { timeout: busyMs, fileMustExist: true });
      try {
        requireOurs(file, path);
        if (file.pragma('journal_mode = WAL', { simple: true }) !== 'wal') {
          throw new StoreError('UNAVAILABLE', `${path} cannot use a write-ahead log: is it on a network file system?`);
        }
        // FULL: a commit has reached the disk when it returns (NORMAL may lose the last ones when the power fails).
        file.pragma('synchronous = FULL');
        file.pragma('foreign_keys = ON');
        file.pragma('trusted_schema = OFF');
        file.pragma(`journal_size_limit = ${WAL_SIZE_LIMIT}`);
        if (maxBytes !== undefined) {
          const pageSize = Number(file.pragma('page_size', { simple: true }));
          file.pragma(`max_page_count = ${Math.max(1, Math.floor(maxBytes / pageSize))}`);
        }
        return new SqliteConnection(file);
      } catch (error) {
        file.close();
        throw error;
      }
    });
  }

  /** Sees what is committed and cannot write. Opened after the writer, which makes the WAL. */
  static openReader(path: string, { busyMs }: SqliteSettings): SqliteConnection {
    return translated(() => {
      const file = new Sqlite(path, { timeout: busyMs, readonly: true, fileMustExist: true });
      try {
        file.pragma('trusted_schema = OFF');
        return new SqliteConnection(file);
      } catch (error) {
        file.close();
        throw error;
      }
    });
  }

  /** Reads every page once. @throws StoreError CORRUPT naming the first damage found. */
  check(): void {
    const finding = translated(() => this.#file.pragma('quick_check(1)', { simple: true }));
    if (finding !== 'ok') throw new StoreError('CORRUPT', `the database is damaged: ${String(finding)}`);
  }

  /** Marks the file as ours; belongs into the transaction that migrates it. */
  claim(): void {
    translated(() => this.#file.pragma(`application_id = ${APPLICATION_ID}`));
  }

  get inTransaction(): boolean {
    return this.#file.open && this.#file.inTransaction;
  }

  begin(): void {
    translated(() => this.#begin.run());
  }

  commit(): void {
    translated(() => this.#commit.run());
  }

  rollback(): void {
    translated(() => this.#file.exec('ROLLBACK'));
  }

  savepoint(): void {
    translated(() => this.#savepoint.run());
  }

  releaseSavepoint(): void {
    translated(() => this.#release.run());
  }

  rollbackToSavepoint(): void {
    translated(() => this.#file.exec('ROLLBACK TO work; RELEASE work'));
  }

  async executeQuery<R>({ sql, parameters }: CompiledQuery): Promise<QueryResult<R>> {
    if (!this.#file.open) throw new StoreError('UNAVAILABLE', 'the store is closed');
    return translated(() => {
      const statement = this.#statement(sql);
      if (statement.reader) return { rows: statement.all(...parameters) as R[] };
      return { rows: [], numAffectedRows: BigInt(statement.run(...parameters).changes) };
    });
  }

  // oxlint-disable-next-line require-yield -- Kysely asks for it; every list here has a limit, so nothing streams
  async *streamQuery<R>(): AsyncIterableIterator<QueryResult<R>> {
    throw new Error('the SQLite store does not stream');
  }

  close(): void {
    this.#statements.clear();
    this.#file.close();
  }

  #statement(sql: string): Sqlite.Statement {
    const known = this.#statements.get(sql);
    if (known !== undefined) return known;
    if (this.#statements.size >= STATEMENT_CACHE_SIZE) {
      for (const oldest of this.#statements.keys()) {
        this.#statements.delete(oldest);
        break;
      }
    }
    const statement = this.#file.prepare(sql);
    this.#statements.set(sql, statement);
    return statement;
  }
}

/** Kysely over one connection that is already open. Transactions are ours to begin and commit (see GroupCommit). */
export function sqliteDialect(connection: SqliteConnection): Dialect {
  return {
    createAdapter: () => new SharedConnectionAdapter(),
    createQueryCompiler: () => new SqliteQueryCompiler(),
    createIntrospector: (db) => new SqliteIntrospector(db),
    createDriver: () => ({
      init: () => Promise.resolve(),
      acquireConnection: () => Promise.resolve(connection),
      releaseConnection: () => Promise.resolve(),
      beginTransaction: ownTransactions,
      commitTransaction: ownTransactions,
      rollbackTransaction: ownTransactions,
      destroy: () => Promise.resolve(),
    }),
  };
}

function ownTransactions(): Promise<never> {
  return Promise.reject(new Error('transactions go through the store'));
}

/** Queries are synchronous, so Kysely needs no queue in front of the connection. */
class SharedConnectionAdapter extends SqliteAdapter {
  override get supportsMultipleConnections(): boolean {
    return true;
  }
}

/** Touches the file for the first time: what is not a database at all fails here. */
function requireOurs(file: Sqlite.Database, path: string): void {
  const isEmpty = file.prepare('SELECT count(*) FROM sqlite_schema').pluck().get() === 0;
  if (!isEmpty && file.pragma('application_id', { simple: true }) !== APPLICATION_ID) {
    throw new StoreError('CORRUPT', `${path} is a database of another program`);
  }
}

function translated<T>(call: () => T): T {
  try {
    return call();
  } catch (cause) {
    if (!(cause instanceof Sqlite.SqliteError)) throw cause;
    const code = storeErrorCode(cause.code);
    // What is left is a mistake in a query, or a row that names a device or group that is not there: ours to mend.
    if (code === undefined) throw cause;
    throw new StoreError(code, cause.message, { cause });
  }
}

function storeErrorCode(sqliteCode: string): StoreErrorCode | undefined {
  if (sqliteCode === 'SQLITE_CONSTRAINT_UNIQUE' || sqliteCode === 'SQLITE_CONSTRAINT_PRIMARYKEY') return 'CONFLICT';
  if (/^SQLITE_(?:CORRUPT|NOTADB)/.test(sqliteCode)) return 'CORRUPT';
  if (/^SQLITE_(?:BUSY|LOCKED|FULL|IOERR|CANTOPEN|READONLY|NOMEM|PROTOCOL|PERM|AUTH)/.test(sqliteCode)) {
    return 'UNAVAILABLE';
  }
  return undefined;
}
