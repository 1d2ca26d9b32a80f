import type { Compilable, CompiledQuery, Kysely } from 'kysely';
import type { Database } from './schema.ts';

/** Stands for a value that each run brings along. */
export interface Parameter<P> {
  <K extends keyof P & string>(name: K): P[K];
}

/**
 * A query compiled once per store and run again with other values: on the hot paths building the same SQL text again
 * costs more than running it.
 */
type PreparedQuery<P, R> = {
  readonly build: (db: Kysely<Database>, parameter: Parameter<P>) => Compilable<R>;
};

export function prepared<P extends object, R>(
  build: (db: Kysely<Database>, parameter: Parameter<P>) => Compilable<R>,
): PreparedQuery<P, R> {
  return { build };
}

class Slot {
  readonly name: string;
  constructor(name: string) {
    this.name = name;
  }
}

/** What a store has compiled so far, in the words of its SQL dialect. */
export class QueryPlans {
  readonly #compiled = new Map<object, CompiledQuery>();

  bind<R>(query: PreparedQuery<never, R>, db: Kysely<Database>, values: object): CompiledQuery<R> {
    let compiled = this.#compiled.get(query);
    if (compiled === undefined) {
      compiled = query.build(db, (name) => new Slot(name) as never).compile();
      this.#compiled.set(query, compiled);
    }
    const named = values as Record<string, unknown>;
    const parameters = compiled.parameters.map((value) => (value instanceof Slot ? named[value.name] : value));
    return { ...compiled, parameters };
  }

  /** A partial update by key, compiled once for each set of columns that is ever changed together. */
  readonly #updates = new Map<string, PreparedQuery<never, unknown>>();
  update(table: keyof Database, key: string, columns: readonly string[]): PreparedQuery<never, unknown> {
    const name = `${table} ${columns.join()}`;
    let query = this.#updates.get(name);
    if (query === undefined) {
      query = {
        build: (db, parameter) => {
          // The callers' column tables are typed; here they are plain names of columns of that table.
          const anyTable = db as unknown as Kysely<Record<string, Record<string, unknown>>>;
          const value = parameter as unknown as (name: string) => unknown;
          const change = Object.fromEntries(columns.map((column) => [column, value(column)]));
          return anyTable.updateTable(table).set(change).where(key, '=', value('key of the row'));
        },
      };
      this.#updates.set(name, query);
    }
    return query;
  }
}

/**
 * Where the tables of one unit of work send their queries. Once it has ended nothing gets through any more: a work that
 * was given up, or forgot to await something, must not write into the next one's transaction.
 */
export class QueryScope {
  readonly #db: Kysely<Database>;
  readonly #plans: QueryPlans;
  #ended = false;

  constructor(db: Kysely<Database>, plans: QueryPlans) {
    this.#db = db;
    this.#plans = plans;
  }

  /** For queries that take another shape each time. */
  get db(): Kysely<Database> {
    if (this.#ended) throw new Error('this transaction has ended: its tables cannot be used any more');
    return this.#db;
  }

  async all<P extends object, R>(query: PreparedQuery<P, R>, values: P): Promise<R[]> {
    return (await this.db.executeQuery(this.#plans.bind(query, this.#db, values))).rows;
  }

  async first<P extends object, R>(query: PreparedQuery<P, R>, values: P): Promise<R | undefined> {
    return (await this.all(query, values))[0];
  }

  /** @returns how many rows were written. */
  async run<P extends object>(query: PreparedQuery<P, unknown>, values: P): Promise<number> {
    const result = await this.db.executeQuery(this.#plans.bind(query, this.#db, values));
    return Number(result.numAffectedRows ?? 0n);
  }

  /** Changes these columns of the row with this key; a row that is not there stays away. */
  async change(
    table: keyof Database,
    { key, is }: { key: string; is: string },
    change: Record<string, unknown>,
  ): Promise<void> {
    const columns = Object.keys(change);
    if (columns.length === 0) return;
    await this.run(this.#plans.update(table, key, columns), { ...change, 'key of the row': is } as never);
  }

  end(): void {
    this.#ended = true;
  }
}
