import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { IdentityAlarm } from '#gateway/domain/identity-alarm.ts';
import type { IdentityAlarmTable } from '#gateway/ports/fleet-tables.ts';
import type { AlarmColumns } from './fleet-schema.ts';
import { type Parameter, prepared, type QueryScope } from './query-scope.ts';
import { changed, inserted, type RecordColumns, selected } from './record-columns.ts';

const COLUMNS = {
  id: 'id',
  deviceId: 'device_id',
  kind: 'kind',
  state: 'state',
  at: 'at',
  evidence: 'evidence',
  decision: 'decision',
  resolvedAt: 'resolved_at',
  resolvedBy: 'resolved_by',
} as const satisfies RecordColumns<IdentityAlarm, AlarmColumns>;

const INSERT = prepared((db, p: Parameter<IdentityAlarm>) =>
  db.insertInto('identity_alarms').values(inserted(COLUMNS, p)),
);

const FIND = prepared((db, p: Parameter<{ id: string }>) =>
  db.selectFrom('identity_alarms').select(selected(COLUMNS)).where('id', '=', p('id')),
);

const LIST_OPEN = prepared((db, p: Parameter<{ deviceId: DeviceId }>) =>
  db
    .selectFrom('identity_alarms')
    .select(selected(COLUMNS))
    .where('device_id', '=', p('deviceId'))
    .where('state', '=', 'open')
    .orderBy('at')
    .orderBy('id'),
);

export function identityAlarmTable(scope: QueryScope): IdentityAlarmTable {
  return {
    async insert(alarm: IdentityAlarm): Promise<void> {
      await scope.run(INSERT, alarm);
    },
    find: (id: string) => scope.first(FIND, { id }),
    update: (id, change) =>
      scope.change('identity_alarms', { key: 'id', is: id }, changed<Partial<IdentityAlarm>>(COLUMNS, change)),
    listOpenByDevice: (deviceId: DeviceId) => scope.all(LIST_OPEN, { deviceId }),
    async list({ after, limit, state, deviceId }): Promise<IdentityAlarm[]> {
      let query = scope.db.selectFrom('identity_alarms').select(selected(COLUMNS));
      if (after !== undefined) {
        const last = await scope.first(FIND, { id: after });
        if (last === undefined) return [];
        query = query.where((eb) => eb(eb.refTuple('at', 'id'), '<', eb.tuple(last.at, last.id)));
      }
      if (state !== undefined) query = query.where('state', '=', state);
      if (deviceId !== undefined) query = query.where('device_id', '=', deviceId);
      return query.orderBy('at', 'desc').orderBy('id', 'desc').limit(limit).execute();
    },
  };
}
