import type { ApprovalRule, GraceDecision, GroupDetail } from '#gateway/contract/operator-api.ts';
import { formatDuration } from './duration.ts';
import { printFields, printJson } from './output.ts';

const APPROVAL = {
  registered: 'registered devices; unknown ones are refused',
  auto: 'registered devices, and unknown ones of a trusted maker or from a registrar',
  manual: 'a person decides each (gatehouse enrollment list)',
} as const satisfies Record<ApprovalRule, string>;

const GRACE = {
  auto: 're-enrolls; a person is asked when there is doubt',
  approval: 're-enrolls when a person has approved',
  refuse: 'is refused all the same',
} as const satisfies Record<GraceDecision, string>;

/** A group and its policy in words. */
export function showGroup(group: GroupDetail, json: boolean | undefined): void {
  if (json) {
    printJson(group);
    return;
  }
  const { policy } = group;
  printFields({
    group: group.name,
    devices: String(group.devices),
    'policy version': String(group.version),
    'certificate lifetime': formatDuration(policy.lifetimeSeconds),
    'overlap after renewal': formatDuration(policy.overlapSeconds),
    'unused certificates lapse after': formatDuration(policy.pendingLapseSeconds),
    'tickets live': formatDuration(policy.ticketSeconds),
    keys: policy.keys.join(', '),
    'lowest proof level': policy.proof,
    'to publish telemetry': policy.publishProof ?? 'software',
    'reads telemetry of': policy.readFrom.join(', ') || 'nobody',
    owner: policy.owner ?? undefined,
    'first enrollments': APPROVAL[policy.approval],
    'at hours (UTC)': policy.hours.join(', ') || 'always',
    'from networks': policy.networks.join(', ') || 'any',
    'device ids': policy.deviceIdPattern ?? 'any',
    'owner needed': policy.requireOwner ? 'yes' : 'no',
    'most devices': policy.maxDevices === null ? 'no limit' : String(policy.maxDevices),
    'most an hour': policy.maxPerHour === null ? 'no limit' : String(policy.maxPerHour),
    'CSR bound to its TLS session': policy.binding === 'required' ? 'required' : 'checked when it claims to be',
    'asked before each issue': policy.webhook ?? 'nobody else',
    'without CRL and OCSP':
      policy.noRevAvailBelowSeconds === 0
        ? 'never'
        : `when they live shorter than ${formatDuration(policy.noRevAvailBelowSeconds)}`,
    'expired certificate':
      policy.graceSeconds === 0
        ? 'needs a new ticket'
        : `for ${formatDuration(policy.graceSeconds)} it ${GRACE[policy.graceDecision]}`,
    'keys made by the gateway': policy.serverKeygen ? 'on request (serverkeygen)' : 'never',
  });
}
