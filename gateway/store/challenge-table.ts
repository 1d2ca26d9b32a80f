import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { AttestationChallenge } from '#gateway/domain/attestation/challenge.ts';
import type { ChallengeTable } from '#gateway/ports/tables.ts';
import { joinChain, splitChain } from './certificate-chain.ts';
import { type Parameter, prepared, type QueryScope } from './query-scope.ts';
import { inserted, type RecordColumns, selected } from './record-columns.ts';
import type { ChallengeColumns } from './schema.ts';

type Row = Omit<AttestationChallenge, 'endorsement'> & {
  ekSha256: string;
  ekCertificate: Buffer | null;
  ekChain: Buffer;
};

const COLUMNS = {
  id: 'id',
  deviceId: 'device_id',
  askedBy: 'asked_by',
  ekSha256: 'ek_sha256',
  proofLevel: 'proof_level',
  akName: 'ak_name',
  akPublic: 'ak_public',
  secret: 'secret',
  createdAt: 'created_at',
  expiresAt: 'expires_at',
  usedAt: 'used_at',
  ekCertificate: 'ek_certificate',
  ekChain: 'ek_chain',
} as const satisfies RecordColumns<Row, ChallengeColumns>;

const INSERT = prepared((db, p: Parameter<Row>) =>
  db.insertInto('attestation_challenges').values(inserted(COLUMNS, p)),
);

const LIST_BY_DEVICE = prepared((db, p: Parameter<{ deviceId: DeviceId }>) =>
  db
    .selectFrom('attestation_challenges')
    .select(selected(COLUMNS))
    .where('device_id', '=', p('deviceId'))
    .orderBy('created_at', 'desc')
    .orderBy('id', 'desc'),
);

const USE = prepared((db, p: Parameter<{ id: string; usedAt: number }>) =>
  db
    .updateTable('attestation_challenges')
    .set({ used_at: p('usedAt') })
    .where('id', '=', p('id'))
    .where('used_at', 'is', null),
);

const REMOVE = prepared((db, p: Parameter<{ id: string }>) =>
  db.deleteFrom('attestation_challenges').where('id', '=', p('id')),
);

const REMOVE_BY_DEVICE = prepared((db, p: Parameter<{ deviceId: DeviceId }>) =>
  db.deleteFrom('attestation_challenges').where('device_id', '=', p('deviceId')),
);

// Walks the index of outstanding ones alone, and no further than asked.
const NTH_OUTSTANDING = prepared((db, p: Parameter<{ now: number; before: number }>) =>
  db
    .selectFrom('attestation_challenges')
    .select('expires_at')
    .where('used_at', 'is', null)
    .where('expires_at', '>', p('now'))
    .orderBy('expires_at')
    .limit(1)
    .offset(p('before')),
);

const REMOVE_EXPIRED = prepared((db, p: Parameter<{ now: number }>) =>
  db.deleteFrom('attestation_challenges').where('expires_at', '<=', p('now')),
);

export function challengeTable(scope: QueryScope): ChallengeTable {
  return {
    async insert({ endorsement, ...challenge }: AttestationChallenge): Promise<void> {
      await scope.run(INSERT, { ...challenge, ...endorsement, ekChain: joinChain(endorsement.ekChain) });
    },
    listByDevice: async (deviceId: DeviceId) => (await scope.all(LIST_BY_DEVICE, { deviceId })).map(toChallenge),
    use: async (id: string, usedAt: number) => (await scope.run(USE, { id, usedAt })) > 0,
    async remove(id: string): Promise<void> {
      await scope.run(REMOVE, { id });
    },
    async removeByDevice(deviceId: DeviceId): Promise<void> {
      await scope.run(REMOVE_BY_DEVICE, { deviceId });
    },
    hasOutstanding: async (count: number, now: number) =>
      (await scope.first(NTH_OUTSTANDING, { now, before: count - 1 })) !== undefined,
    removeExpired: (now: number) => scope.run(REMOVE_EXPIRED, { now }),
  };
}

function toChallenge({ ekSha256, ekCertificate, ekChain, ...challenge }: Row): AttestationChallenge {
  return { ...challenge, endorsement: { ekSha256, ekCertificate, ekChain: splitChain(ekChain) } };
}
