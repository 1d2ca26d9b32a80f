import type { ApprovalRule, GroupPolicy, KeyKind, ProofLevel } from '#gateway/contract/operator-api.ts';
import { meetsProof } from '#gateway/domain/device.ts';
import type { GatewayErrorCode } from '#gateway/domain/gateway-error.ts';
import { matchesGlob } from './glob.ts';
import { isInNetworks } from './network-list.ts';
import { isWithin, parseTimeWindow, secondsUntilOpen } from './time-window.ts';

/** All that the rules of a group look at. */
export type PolicyFacts = {
  kind: 'enroll' | 'reenroll';
  deviceId: string;
  owner: string | null;
  keyKind: KeyKind;
  proofLevel: ProofLevel;
  address: string;
  /** Milliseconds UTC. */
  at: number;
  /** Whether the CSR is bound to its TLS session, and that was verified. */
  binding: 'verified' | 'none';
  isRegistered: boolean;
  /** It has a certificate in use, with another key than it asks for now. */
  isEnrolledWithOtherKey: boolean;
  /** In the group, without this one. */
  devicesEnrolled: number;
  /** Devices that have begun their first enrollment, likewise. */
  enrolledLastHour: number;
};

export type PolicyFinding = { rule: string; detail: string } & (
  | { outcome: 'passed' | 'not checked' }
  | { outcome: 'waits' }
  | { outcome: 'refused'; code: GatewayErrorCode; retryAfter?: number }
);

type Rule = (policy: GroupPolicy, facts: PolicyFacts) => PolicyFinding;

/**
 * The rules of a group about one request, in order: all of them, so that `gatehouse group test` can show each.
 *
 * A renewal is judged by what can go wrong in the meantime (key, proof, binding, network, owner). Hours, counts and the
 * pattern of ids are for newcomers: a device must not die because its renewal falls into the night.
 */
export function judgePolicy(policy: GroupPolicy, facts: PolicyFacts): PolicyFinding[] {
  const always: Rule[] = [keys, proof, binding, networks, owner];
  const first: Rule[] = [hours, pattern, maxDevices, maxPerHour, approval];
  return [
    ...always.map((rule) => rule(policy, facts)),
    ...first.map((rule): PolicyFinding => {
      if (facts.kind === 'enroll') return rule(policy, facts);
      return { rule: rule(policy, facts).rule, outcome: 'not checked', detail: 'for first enrollments only' };
    }),
  ];
}

function keys(policy: GroupPolicy, { keyKind }: PolicyFacts): PolicyFinding {
  const rule = 'key type';
  if (policy.keys.includes(keyKind)) return { rule, outcome: 'passed', detail: keyKind };
  const detail = `the key is ${keyKind}; allowed here: ${policy.keys.join(', ')}`;
  return { rule, outcome: 'refused', code: 'KEY_NOT_ALLOWED', detail };
}

function proof(policy: GroupPolicy, { proofLevel }: PolicyFacts): PolicyFinding {
  const rule = 'proof level';
  if (meetsProof(proofLevel, policy.proof)) return { rule, outcome: 'passed', detail: proofLevel };
  const detail = `the group requires ${policy.proof}; proved is ${proofLevel}`;
  return { rule, outcome: 'refused', code: 'PROOF_TOO_LOW', detail };
}

function binding(policy: GroupPolicy, facts: PolicyFacts): PolicyFinding {
  const rule = 'binding to TLS';
  if (policy.binding === 'optional' || facts.binding === 'verified') {
    return { rule, outcome: 'passed', detail: facts.binding === 'verified' ? 'verified' : 'not required' };
  }
  const detail = 'the group requires CSRs that are bound to their TLS session (RFC 7030 3.5)';
  return { rule, outcome: 'refused', code: 'CSR_BINDING_REQUIRED', detail };
}

function networks(policy: GroupPolicy, { address }: PolicyFacts): PolicyFinding {
  const rule = 'network';
  if (policy.networks.length === 0) return { rule, outcome: 'passed', detail: 'any' };
  if (isInNetworks(policy.networks, address)) return { rule, outcome: 'passed', detail: address };
  const detail = `${address} is in none of ${policy.networks.join(', ')}`;
  return { rule, outcome: 'refused', code: 'NETWORK_NOT_ALLOWED', detail };
}

function owner(policy: GroupPolicy, facts: PolicyFacts): PolicyFinding {
  const rule = 'owner';
  if (!policy.requireOwner) return { rule, outcome: 'passed', detail: 'not required' };
  if (facts.owner !== null) return { rule, outcome: 'passed', detail: facts.owner };
  return { rule, outcome: 'refused', code: 'OWNER_MISSING', detail: 'the group requires an owner' };
}

function hours(policy: GroupPolicy, { at }: PolicyFacts): PolicyFinding {
  const rule = 'hours';
  if (policy.hours.length === 0) return { rule, outcome: 'passed', detail: 'always' };
  const windows = policy.hours.map(parseTimeWindow);
  const now = new Date(at).toISOString().slice(11, 16);
  if (windows.some((window) => isWithin(window, at))) return { rule, outcome: 'passed', detail: `${now} UTC` };
  const detail = `it is ${now} UTC; first enrollments are taken ${policy.hours.join(', ')} UTC`;
  return { rule, outcome: 'refused', code: 'OUTSIDE_HOURS', detail, retryAfter: secondsUntilOpen(windows, at) };
}

function pattern(policy: GroupPolicy, { deviceId }: PolicyFacts): PolicyFinding {
  const rule = 'device id';
  if (policy.deviceIdPattern === null || matchesGlob(policy.deviceIdPattern, deviceId)) {
    return { rule, outcome: 'passed', detail: policy.deviceIdPattern ?? 'any' };
  }
  const detail = `"${deviceId}" does not look like ${policy.deviceIdPattern}`;
  return { rule, outcome: 'refused', code: 'DEVICE_ID_NOT_ALLOWED', detail };
}

function maxDevices(policy: GroupPolicy, { devicesEnrolled }: PolicyFacts): PolicyFinding {
  const rule = 'devices';
  if (policy.maxDevices === null) return { rule, outcome: 'passed', detail: 'no limit' };
  const detail = `${devicesEnrolled} of ${policy.maxDevices} are enrolled`;
  if (devicesEnrolled < policy.maxDevices) return { rule, outcome: 'passed', detail };
  return { rule, outcome: 'refused', code: 'GROUP_FULL', detail };
}

function maxPerHour(policy: GroupPolicy, { enrolledLastHour }: PolicyFacts): PolicyFinding {
  const rule = 'per hour';
  if (policy.maxPerHour === null) return { rule, outcome: 'passed', detail: 'no limit' };
  const detail = `${enrolledLastHour} of ${policy.maxPerHour} devices have enrolled within the last hour`;
  if (enrolledLastHour < policy.maxPerHour) return { rule, outcome: 'passed', detail };
  return { rule, outcome: 'refused', code: 'RATE_LIMITED', detail: `of the group ${detail}`, retryAfter: 600 };
}

const APPROVAL: Record<ApprovalRule, string> = {
  registered: 'registered devices only',
  auto: 'automatic',
  manual: 'a person decides',
};

function approval(policy: GroupPolicy, { isRegistered, isEnrolledWithOtherKey }: PolicyFacts): PolicyFinding {
  const rule = 'approval';
  // Whatever the group says: an accepted key is not displaced by a newcomer without a person's word.
  if (isEnrolledWithOtherKey) {
    return { rule, outcome: 'waits', detail: 'this device is enrolled with another key' };
  }
  if (policy.approval === 'manual') return { rule, outcome: 'waits', detail: APPROVAL.manual };
  if (policy.approval === 'auto' || isRegistered) return { rule, outcome: 'passed', detail: APPROVAL[policy.approval] };
  return { rule, outcome: 'refused', code: 'DEVICE_UNKNOWN', detail: 'this device is not registered' };
}
