import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { Endorsement } from '#gateway/domain/attestation/endorsement.ts';
import type { EndorsementTable } from '#gateway/ports/tables.ts';
import { joinChain, splitChain } from './certificate-chain.ts';
import { type Parameter, prepared, type QueryScope } from './query-scope.ts';
import { inserted, type RecordColumns, selected } from './record-columns.ts';
import type { EndorsementColumns } from './schema.ts';

type Row = Omit<Endorsement, 'ekChain'> & { ekChain: Buffer };

const COLUMNS = {
  deviceId: 'device_id',
  ekSha256: 'ek_sha256',
  akName: 'ak_name',
  proofLevel: 'proof_level',
  firstSeen: 'first_seen',
  updatedAt: 'updated_at',
  akPublic: 'ak_public',
  ekCertificate: 'ek_certificate',
  ekChain: 'ek_chain',
} as const satisfies RecordColumns<Row, EndorsementColumns>;

const FIND = prepared((db, p: Parameter<{ deviceId: DeviceId }>) =>
  db.selectFrom('tpm_endorsements').select(selected(COLUMNS)).where('device_id', '=', p('deviceId')),
);

const FIND_BY_EK = prepared((db, p: Parameter<{ ekSha256: string }>) =>
  db.selectFrom('tpm_endorsements').select(selected(COLUMNS)).where('ek_sha256', '=', p('ekSha256')),
);

const PUT = prepared((db, p: Parameter<Row>) =>
  db
    .insertInto('tpm_endorsements')
    .values(inserted(COLUMNS, p))
    .onConflict((oc) =>
      oc.column('device_id').doUpdateSet((eb) => ({
        ek_sha256: eb.ref('excluded.ek_sha256'),
        ak_name: eb.ref('excluded.ak_name'),
        proof_level: eb.ref('excluded.proof_level'),
        first_seen: eb.ref('excluded.first_seen'),
        updated_at: eb.ref('excluded.updated_at'),
        ak_public: eb.ref('excluded.ak_public'),
        ek_certificate: eb.ref('excluded.ek_certificate'),
        ek_chain: eb.ref('excluded.ek_chain'),
      })),
    ),
);

const REMOVE = prepared((db, p: Parameter<{ deviceId: DeviceId }>) =>
  db.deleteFrom('tpm_endorsements').where('device_id', '=', p('deviceId')),
);

export function endorsementTable(scope: QueryScope): EndorsementTable {
  return {
    find: async (deviceId: DeviceId) => toEndorsement(await scope.first(FIND, { deviceId })),
    findByEk: async (ekSha256: string) => toEndorsement(await scope.first(FIND_BY_EK, { ekSha256 })),
    async put(endorsement: Endorsement): Promise<void> {
      await scope.run(PUT, { ...endorsement, ekChain: joinChain(endorsement.ekChain) });
    },
    async remove(deviceId: DeviceId): Promise<void> {
      await scope.run(REMOVE, { deviceId });
    },
  };
}

function toEndorsement(row: Row | undefined): Endorsement | undefined {
  return row === undefined ? undefined : { ...row, ekChain: splitChain(row.ekChain) };
}
