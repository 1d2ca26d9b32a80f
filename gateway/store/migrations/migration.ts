import type { ColumnDataType, ColumnDefinitionBuilder, Kysely } from 'kysely';

/** The few column types whose names differ between databases. The store's adapter brings them. */
export type ColumnTypes = {
  /** SQLite `blob`, PostgreSQL `bytea`. */
  bytes: ColumnDataType;
  /** A primary key that the database counts up and never gives out twice: its type, and how to say so. */
  countedId: ColumnDataType;
  counted(column: ColumnDefinitionBuilder): ColumnDefinitionBuilder;
};

/**
 * One step of the schema, forward only. It is frozen once released: it must not use the current column lists or
 * constants of the code, and speaks only what SQLite and PostgreSQL both understand.
 */
export type Migration = {
  readonly number: number;
  readonly name: string;
  up(db: Kysely<unknown>, types: ColumnTypes): Promise<void>;
};
