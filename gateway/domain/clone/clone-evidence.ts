import type { AlarmKind } from '#gateway/contract/operator-api.ts';

/** A sign that an identity is in more than one place. */
export type CloneEvidence = {
  kind: AlarmKind;
  /** For people. */
  detail: string;
  address: string | null;
  serial: string | null;
};
