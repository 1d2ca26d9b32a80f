import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { DeviceState, ProofLevel } from '#gateway/contract/operator-api.ts';

/** Times are milliseconds UTC everywhere. */
export type Device = {
  deviceId: DeviceId;
  group: string;
  state: DeviceState;
  proofLevel: ProofLevel;
  /** Goes into the certificate's serialNumber RDN. */
  hardwareSerial: string | null;
  owner: string | null;
  createdAt: number;
  /** Highest notice sequence number given out; only rises. */
  noticeSeq: number;
  /** Fingerprint of the anchors it has said it uses; null: it has not said. */
  trustSeen: string | null;
  trustSeenAt: number | null;
  /** Highest count of its own that it has reported. */
  reportCount: number | null;
  /** JSON: what its agent reported last. */
  lastReport: string | null;
};

/** It gets neither ticket nor certificate until a person has said otherwise. */
export function isBarred({ state }: Pick<Device, 'state'>): boolean {
  return state === 'retired' || state === 'quarantined' || state === 'held';
}

const PROOF_ORDER = { software: 0, tpm: 1, 'tpm-endorsed': 2 } as const satisfies Record<ProofLevel, number>;

export function meetsProof(has: ProofLevel, needs: ProofLevel): boolean {
  return PROOF_ORDER[has] >= PROOF_ORDER[needs];
}

/** As it stands in the inventory before it has ever been heard of. */
export function newDevice(facts: Pick<Device, 'deviceId' | 'group' | 'hardwareSerial' | 'owner'>, now: number): Device {
  const { deviceId, group, hardwareSerial, owner } = facts;
  return {
    deviceId,
    group,
    state: 'registered',
    proofLevel: 'software',
    hardwareSerial,
    owner,
    createdAt: now,
    noticeSeq: 0,
    trustSeen: null,
    trustSeenAt: null,
    reportCount: null,
    lastReport: null,
  };
}
