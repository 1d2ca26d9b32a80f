import type { ExpressionBuilder } from 'kysely';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { SessionRecord } from '#gateway/domain/session-record.ts';
import type { SessionTable } from '#gateway/ports/tables.ts';
import { type Parameter, prepared, type QueryScope } from './query-scope.ts';
import type { Database, SessionColumns } from './schema.ts';

type Opening = { deviceId: DeviceId; serial: string; address: string; since: number };

/** Why a session ended that was still current when the next one of its device opened. */
const TAKEN_OVER = 'taken-over';

// On the right-hand side `sessions.x` is the row as it was.
const OPEN = prepared((db, p: Parameter<Opening>) =>
  db
    .insertInto('sessions')
    .values({
      device_id: p('deviceId'),
      current_serial: p('serial'),
      current_address: p('address'),
      current_since: p('since'),
    })
    .onConflict((oc) =>
      oc.column('device_id').doUpdateSet((eb) => ({
        last_serial: eb.fn.coalesce('sessions.current_serial', 'sessions.last_serial'),
        last_address: eb.fn.coalesce('sessions.current_address', 'sessions.last_address'),
        last_since: eb.fn.coalesce('sessions.current_since', 'sessions.last_since'),
        last_ended_at: eb
          .case()
          .when('sessions.current_since', 'is', null)
          .then(eb.ref('sessions.last_ended_at'))
          .else(eb.ref('excluded.current_since'))
          .end(),
        last_end_reason: eb
          .case()
          .when('sessions.current_since', 'is', null)
          .then(eb.ref('sessions.last_end_reason'))
          .else(eb.val(TAKEN_OVER))
          .end(),
        current_serial: eb.ref('excluded.current_serial'),
        current_address: eb.ref('excluded.current_address'),
        current_since: eb.ref('excluded.current_since'),
      })),
    ),
);

type Ending = { endedAt: number; endReason: string };

function fromCurrentToLast(eb: ExpressionBuilder<Database, 'sessions'>, p: Parameter<Ending>) {
  return {
    last_serial: eb.ref('current_serial'),
    last_address: eb.ref('current_address'),
    last_since: eb.ref('current_since'),
    last_ended_at: p('endedAt'),
    last_end_reason: p('endReason'),
    current_serial: null,
    current_address: null,
    current_since: null,
  };
}

const END = prepared((db, p: Parameter<Ending & { deviceId: DeviceId; serial: string; since: number }>) =>
  db
    .updateTable('sessions')
    .set((eb) => fromCurrentToLast(eb, p))
    .where('device_id', '=', p('deviceId'))
    .where('current_serial', '=', p('serial'))
    .where('current_since', '=', p('since')),
);

const END_ALL = prepared((db, p: Parameter<Ending>) =>
  db
    .updateTable('sessions')
    .set((eb) => fromCurrentToLast(eb, p))
    .where('current_since', 'is not', null),
);

const FIND = prepared((db, p: Parameter<{ deviceId: DeviceId }>) =>
  db.selectFrom('sessions').selectAll().where('device_id', '=', p('deviceId')),
);

export function sessionTable(scope: QueryScope): SessionTable {
  return {
    async open(deviceId, { serial, address, since }): Promise<void> {
      await scope.run(OPEN, { deviceId, serial, address, since });
    },
    async end(deviceId, { serial, since }, endedAt, endReason): Promise<void> {
      await scope.run(END, { deviceId, serial, since, endedAt, endReason });
    },
    async find(deviceId: DeviceId): Promise<SessionRecord | undefined> {
      const row = await scope.first(FIND, { deviceId });
      return row === undefined ? undefined : toSession(row);
    },
    endAll: (endedAt: number, endReason: string) => scope.run(END_ALL, { endedAt, endReason }),
  };
}

function toSession(row: SessionColumns): SessionRecord {
  const { current_serial, current_address, current_since } = row;
  const { last_serial, last_address, last_since, last_ended_at, last_end_reason } = row;
  return {
    deviceId: row.device_id,
    current:
      current_serial === null || current_address === null || current_since === null
        ? null
        : { serial: current_serial, address: current_address, since: current_since },
    last:
      last_serial === null ||
      last_address === null ||
      last_since === null ||
      last_ended_at === null ||
      last_end_reason === null
        ? null
        : {
            serial: last_serial,
            address: last_address,
            since: last_since,
            endedAt: last_ended_at,
            endReason: last_end_reason,
          },
  };
}
