import type { AlarmKind, AlarmState } from './operator-api.ts';

/** Alarms about identities in the operator API. Times are milliseconds UTC. */

export const CLONE_REACTIONS = ['quarantine', 'alarm'] as const;
export type CloneReaction = (typeof CLONE_REACTIONS)[number];

/** What counts as a sign that an identity is in two places. All of it may be changed while the gateway runs. */
export type CloneRules = {
  /** `quarantine`: only identity topics remain until it is decided; `alarm`: it is only told. */
  reaction: CloneReaction;
  /**
   * Take-overs of a session to and fro between two networks, which the device's own reports do not explain, within
   * pingPongSeconds. Lower: a client that does not report and changes its network often is taken for two.
   */
  pingPongTakeOvers: number;
  pingPongSeconds: number;
  /**
   * A take-over from another network by another run of the agent, so soon after the last sign of the one before, is two
   * places; 0: never. Higher than a device takes to start: one that lost power and came back by another uplink is
   * taken for two.
   */
  twoPlacesSeconds: number;
  /** Uses of a superseded certificate, whose successor the device has reported to use, within supersededSeconds. */
  supersededUses: number;
  supersededSeconds: number;
};

export const DEFAULT_CLONE_RULES: CloneRules = {
  reaction: 'quarantine',
  pingPongTakeOvers: 4,
  pingPongSeconds: 600,
  twoPlacesSeconds: 5,
  // An agent whose current certificate is refused tries the one before, once.
  supersededUses: 2,
  supersededSeconds: 3600,
};

/** What was seen, as far as it is known. `times` and `lastAt`: the same again while the alarm was open. */
export type AlarmEvidence = {
  detail: string;
  address: string | null;
  serial: string | null;
  times: number;
  lastAt: number;
};

export type IdentityAlarmDetail = {
  id: string;
  deviceId: string;
  kind: AlarmKind;
  state: AlarmState;
  at: number;
  evidence: AlarmEvidence;
  /** Who decided what: an operator's words, or that the device's TPM has named the original. */
  decision: string | null;
  resolvedAt: number | null;
  resolvedBy: string | null;
};

export type DeviceQuarantined = { deviceId: string; sessionsLimited: number };
/** `alarms`: ids of those that this resolved. */
export type QuarantineReleased = { deviceId: string; alarms: string[] };
