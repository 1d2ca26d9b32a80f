import type { Parameter } from './query-scope.ts';

/**
 * Which column holds which field of a record: `{ deviceId: 'device_id', ... }`. Each table has one such list, and
 * reading, inserting and changing all go by it.
 */
export type RecordColumns<R, C> = { readonly [K in keyof R]: keyof C & string };

type Aliases<M extends Record<string, string>> = { [K in keyof M & string]: `${M[K]} as ${K}` }[keyof M & string];

/** `['device_id as deviceId', ...]`: rows come out of the database as records. */
export function selected<M extends Record<string, string>>(columns: M): Aliases<M>[] {
  return Object.entries(columns).map(([field, column]) => `${column} as ${field}` as Aliases<M>);
}

type Inserted<M extends Record<string, string>, R> = { [K in keyof M & keyof R as M[K]]: R[K] };

/** A row whose values are the parameters named like the record's fields. */
export function inserted<M extends Record<string, string>, R>(columns: M, parameter: Parameter<R>): Inserted<M, R> {
  const value = parameter as (field: string) => unknown;
  return Object.fromEntries(Object.entries(columns).map(([field, column]) => [column, value(field)])) as Inserted<M, R>;
}

/** The columns of the fields that are there; `undefined` means: stays as it is. */
export function changed<R extends object>(
  columns: { readonly [K in keyof R]-?: string },
  change: R,
): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  for (const field of Object.keys(columns) as (keyof R & string)[]) {
    const value = change[field];
    if (value !== undefined) values[columns[field]] = value;
  }
  return values;
}
