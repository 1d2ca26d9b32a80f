import { type GroupPolicy, KEY_KINDS } from '#gateway/contract/operator-api.ts';

export type Group = { name: string; version: number; policy: GroupPolicy; updatedAt: number };

export const DEFAULT_GROUP = 'default';

const HOUR = 3600;
const DAY = 24 * HOUR;

/** 7 days: short enough that a stolen key dies soon, long enough for a weekend offline and several renewal attempts. */
export const DEFAULT_POLICY: GroupPolicy = {
  lifetimeSeconds: 7 * DAY,
  overlapSeconds: HOUR,
  pendingLapseSeconds: HOUR,
  ticketSeconds: DAY,
  keys: [...KEY_KINDS],
  proof: 'software',
  readFrom: [],
  owner: null,
  approval: 'registered',
  binding: 'optional',
  networks: [],
  hours: [],
  maxDevices: null,
  maxPerHour: null,
  deviceIdPattern: null,
  requireOwner: false,
  webhook: null,
  serverKeygen: false,
  graceSeconds: 0,
  graceDecision: 'approval',
  noRevAvailBelowSeconds: 0,
};
