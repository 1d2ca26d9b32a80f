import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { ProofLevel } from '#gateway/contract/operator-api.ts';
import { enrollTopics, FLEET_TOPICS, parseDeviceTopic } from '#gateway/contract/topics.ts';
import { meetsProof } from './device.ts';

/** Who asks, as far as topics are concerned. */
export type TopicIdentity = DeviceIdentity | EnrollmentIdentity;

/** Came in with a claim, a maker's or an expired certificate: it asks for that of this device and does nothing else. */
export type EnrollmentIdentity = { kind: 'enrollment'; deviceId: DeviceId; revoked: boolean };

/** Came in with a certificate that this gateway gave to the device. */
export type DeviceIdentity = {
  kind: 'device';
  deviceId: string;
  /** Groups whose devices' telemetry this one may read. */
  readFrom: readonly string[];
  /** Its certificate was revoked while it is connected: it may acknowledge notices and nothing else. */
  revoked: boolean;
  /** More than one may live by this identity: what it needs to be an identity goes on, its data does not. */
  quarantined?: boolean;
  /** Of the certificate it came in with; left out: software. */
  proofLevel?: ProofLevel;
  /** What its group asks of those who publish telemetry; left out: nothing. */
  publishProof?: ProofLevel | undefined;
};

const REPORTS = new Set(['csr', 'ack', 'state']);
const FLEET_FILTERS = new Set<string>([FLEET_TOPICS.revocations, FLEET_TOPICS.trust, 'v1/fleet/#', 'v1/fleet/+']);

/** The one place that decides topics: publishing, subscribing and each delivery ask here. What is not named is denied. */
export function mayPublish(identity: TopicIdentity, topic: string): boolean {
  if (isReserved(topic) || hasWildcard(topic)) return false;
  if (identity.kind === 'enrollment') return !identity.revoked && topic === enrollTopics(identity.deviceId).csr;
  const parsed = parseDeviceTopic(topic);
  if (parsed?.deviceId !== identity.deviceId || parsed.direction !== 'out') return false;
  const [first = '', ...more] = parsed.rest;
  if (identity.revoked) return first === 'ack' && more.length === 0;
  if (first === 'data') return more.length > 0 && !identity.quarantined && mayPublishData(identity);
  return REPORTS.has(first) && more.length === 0;
}

function mayPublishData({ proofLevel = 'software', publishProof = 'software' }: DeviceIdentity): boolean {
  return meetsProof(proofLevel, publishProof);
}

/**
 * Quarantined or not: what is delivered is decided for each message, and the session need not be made anew when the
 * quarantine ends. A device reads its own `in` topics and the fleet's; a reader also the telemetry of the groups it is named for.
 * A reader's wildcard covers everybody: mayReceive decides each message. Who enrolls reads the answer to that.
 */
export function maySubscribe(identity: TopicIdentity, filter: string): boolean {
  if (identity.revoked || isReserved(filter) || !isWellFormedFilter(filter)) return false;
  if (identity.kind === 'enrollment') return filter === enrollTopics(identity.deviceId).certificate;
  if (FLEET_FILTERS.has(filter)) return true;
  const [version, kind, deviceId, direction, ...rest] = filter.split('/');
  if (version !== 'v1' || kind !== 'd' || rest.length === 0) return false;
  if (direction === 'in') return deviceId === identity.deviceId;
  // A wildcard in place of `data` would also cover acknowledgements, CSRs and state reports.
  return direction === 'out' && rest[0] === 'data' && identity.readFrom.length > 0 && deviceId !== identity.deviceId;
}

/** Asked for every single delivery: live, retained or queued. `groupOf` knows the group of a connected device. */
export function mayReceive(
  identity: TopicIdentity,
  topic: string,
  groupOf: (deviceId: string) => string | undefined,
): boolean {
  if (isReserved(topic)) return false;
  if (identity.kind === 'enrollment') return !identity.revoked && topic === enrollTopics(identity.deviceId).certificate;
  const parsed = parseDeviceTopic(topic);
  if (parsed === undefined) {
    return !identity.revoked && (topic === FLEET_TOPICS.revocations || topic === FLEET_TOPICS.trust);
  }
  if (parsed.direction === 'in') {
    if (parsed.deviceId !== identity.deviceId) return false;
    if (identity.quarantined && parsed.rest[0] === 'data') return false;
    return !identity.revoked || (parsed.rest.length === 1 && parsed.rest[0] === 'notice');
  }
  if (identity.revoked || identity.quarantined || parsed.rest[0] !== 'data') return false;
  const group = groupOf(parsed.deviceId);
  return group !== undefined && identity.readFrom.includes(group);
}

/** `$SYS` and `$share`: the broker's own; no identity reads or writes them. */
function isReserved(topic: string): boolean {
  return topic === '' || topic.startsWith('$') || topic.includes('\0');
}

function hasWildcard(topic: string): boolean {
  return topic.includes('+') || topic.includes('#');
}

/** MQTT 3.1.1 4.7.1: a wildcard stands alone in its level and `#` only at the end. */
function isWellFormedFilter(filter: string): boolean {
  const levels = filter.split('/');
  return levels.every(
    (level, index) => level === '+' || (level === '#' && index === levels.length - 1) || !hasWildcard(level),
  );
}
