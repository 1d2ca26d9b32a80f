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
};

const PROOF_ORDER = { software: 0, tpm: 1, 'tpm-endorsed': 2 } as const satisfies Record<ProofLevel, number>;

export function meetsProof(has: ProofLevel, needs: ProofLevel): boolean {
  return PROOF_ORDER[has] >= PROOF_ORDER[needs];
}
