import type { Attempt } from '#gateway/domain/attempt.ts';
import type { AttemptTable } from '#gateway/ports/tables.ts';
import { type Parameter, prepared, type QueryScope } from './query-scope.ts';
import { inserted, type RecordColumns, selected } from './record-columns.ts';
import type { AttemptColumns } from './schema.ts';

type Row = Omit<Attempt, 'steps'> & { steps: string };

const COLUMNS = {
  id: 'id',
  at: 'at',
  kind: 'kind',
  door: 'door',
  address: 'address',
  deviceId: 'device_id',
  outcome: 'outcome',
  code: 'code',
  detail: 'detail',
  nextAction: 'next_action',
  milliseconds: 'milliseconds',
  steps: 'steps',
} as const satisfies RecordColumns<Row, AttemptColumns>;

const REMOVE = prepared((db, p: Parameter<{ id: string }>) => db.deleteFrom('attempts').where('id', '=', p('id')));

const INSERT = prepared((db, p: Parameter<Row>) => db.insertInto('attempts').values(inserted(COLUMNS, p)));

const FIND = prepared((db, p: Parameter<{ id: string }>) =>
  db.selectFrom('attempts').select(selected(COLUMNS)).where('id', '=', p('id')),
);

const NTH_NEWEST = prepared((db, p: Parameter<{ before: number }>) =>
  db
    .selectFrom('attempts')
    .select(['at', 'id'])
    .orderBy('at', 'desc')
    .orderBy('id', 'desc')
    .limit(1)
    .offset(p('before')),
);

const PRUNE = prepared((db, p: Parameter<{ at: number; id: string; limit: number }>) =>
  db.deleteFrom('attempts').where('id', 'in', (eb) =>
    eb
      .selectFrom('attempts')
      .select('id')
      .where((row) => row(row.refTuple('at', 'id'), '<=', row.tuple(p('at'), p('id'))))
      .orderBy('at')
      .orderBy('id')
      .limit(p('limit')),
  ),
);

export function attemptTable(scope: QueryScope): AttemptTable {
  return {
    async put(attempt: Attempt): Promise<void> {
      await scope.run(REMOVE, { id: attempt.id });
      await scope.run(INSERT, { ...attempt, steps: JSON.stringify(attempt.steps) });
    },
    async find(id: string): Promise<Attempt | undefined> {
      const row = await scope.first(FIND, { id });
      return row === undefined ? undefined : toAttempt(row);
    },
    async list({ after, limit, deviceId, outcome }): Promise<Attempt[]> {
      let query = scope.db.selectFrom('attempts').select(selected(COLUMNS));
      if (after !== undefined) {
        const last = await scope.first(FIND, { id: after });
        if (last === undefined) return [];
        query = query.where((eb) => eb(eb.refTuple('at', 'id'), '<', eb.tuple(last.at, last.id)));
      }
      if (deviceId !== undefined) query = query.where('device_id', '=', deviceId);
      if (outcome !== undefined) query = query.where('outcome', '=', outcome);
      return (await query.orderBy('at', 'desc').orderBy('id', 'desc').limit(limit).execute()).map(toAttempt);
    },
    async prune(before: number, keep: number, limit: number): Promise<number> {
      const tooOld = await scope.run(PRUNE, { at: before - 1, id: '\u{10ffff}', limit });
      if (tooOld >= limit) return tooOld;
      const tooMany = await scope.first(NTH_NEWEST, { before: keep });
      return tooMany === undefined ? tooOld : tooOld + (await scope.run(PRUNE, { ...tooMany, limit: limit - tooOld }));
    },
  };
}

function toAttempt({ steps, ...row }: Row): Attempt {
  return { ...row, steps: JSON.parse(steps) as Attempt['steps'] };
}
