import type { SerialNumber } from '#ca/pkix/serial-number.ts';
import type { Registrar } from '#gateway/domain/registrar.ts';
import type { RegistrarTable } from '#gateway/ports/tables.ts';
import { type Parameter, prepared, type QueryScope } from './query-scope.ts';
import { inserted, type RecordColumns, selected } from './record-columns.ts';
import type { RegistrarColumns } from './schema.ts';

type Row = Omit<Registrar, 'groups'> & { groups: string };

const COLUMNS = {
  name: 'name',
  groups: 'group_names',
  serial: 'serial',
  notAfter: 'not_after',
  createdAt: 'created_at',
  createdBy: 'created_by',
} as const satisfies RecordColumns<Row, RegistrarColumns>;

const INSERT = prepared((db, p: Parameter<Row>) => db.insertInto('registrars').values(inserted(COLUMNS, p)));

const FIND = prepared((db, p: Parameter<{ name: string }>) =>
  db.selectFrom('registrars').select(selected(COLUMNS)).where('name', '=', p('name')),
);

const FIND_BY_SERIAL = prepared((db, p: Parameter<{ serial: SerialNumber }>) =>
  db.selectFrom('registrars').select(selected(COLUMNS)).where('serial', '=', p('serial')),
);

const LIST = prepared((db) => db.selectFrom('registrars').select(selected(COLUMNS)).orderBy('name'));

const REMOVE = prepared((db, p: Parameter<{ name: string }>) =>
  db.deleteFrom('registrars').where('name', '=', p('name')),
);

export function registrarTable(scope: QueryScope): RegistrarTable {
  return {
    async insert(registrar: Registrar): Promise<void> {
      await scope.run(INSERT, { ...registrar, groups: JSON.stringify(registrar.groups) });
    },
    find: async (name: string) => toRegistrar(await scope.first(FIND, { name })),
    findBySerial: async (serial: string) =>
      toRegistrar(await scope.first(FIND_BY_SERIAL, { serial: serial as SerialNumber })),
    list: async () => (await scope.all(LIST, {})).flatMap((row) => toRegistrar(row) ?? []),
    remove: async (name: string) => (await scope.run(REMOVE, { name })) > 0,
  };
}

function toRegistrar(row: Row | undefined): Registrar | undefined {
  return row === undefined ? undefined : { ...row, groups: JSON.parse(row.groups) as string[] };
}
