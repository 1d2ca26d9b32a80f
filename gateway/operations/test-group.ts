import { type DeviceId, parseDeviceId } from '#gateway/contract/device-id.ts';
import type { GroupTested, KeyKind, ProofLevel } from '#gateway/contract/operator-api.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import { judgePolicy, type PolicyFacts } from '#gateway/domain/policy/judge-policy.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { PolicyWebhook } from '#gateway/ports/policy-webhook.ts';
import type { Store } from '#gateway/ports/store.ts';
import { findLookAlike } from './find-look-alike.ts';

export type TestGroupDeps = { store: Pick<Store, 'read'>; clock: Clock; webhook: PolicyWebhook };

export type TestGroupOrder = {
  name: string;
  /** A registered one is judged as it is; another, or none, as a stranger. */
  deviceId?: DeviceId;
  keyKind?: KeyKind;
  proofLevel?: ProofLevel;
  address?: string;
  /** Milliseconds UTC. */
  at?: number;
  grounds?: string;
  /** Else the webhook is named and not asked. */
  askWebhook?: boolean;
};

const HOUR_MS = 3_600_000;

/** What a first enrollment would get from a group, and why: every rule. Changes nothing. @throws GatewayError NOT_FOUND, STATE_CONFLICT */
export async function testGroup(deps: TestGroupDeps, order: TestGroupOrder): Promise<GroupTested> {
  const { read } = deps.store;
  const group = await read.groups.find(order.name);
  if (group === undefined) throw new GatewayError('NOT_FOUND', `no group "${order.name}"`);
  const at = order.at ?? deps.clock.now();
  const facts = await collectFacts(deps, order, at);
  // Without a device there is no name to look at.
  const policy = order.deviceId === undefined ? { ...group.policy, deviceIdPattern: null } : group.policy;
  const findings = judgePolicy(policy, facts);
  const rules: GroupTested['rules'] = findings.map(({ rule, outcome, detail }) => ({
    rule,
    outcome: outcome === 'waits' ? 'passed' : outcome,
    detail,
  }));
  const refusal = findings.find((finding) => finding.outcome === 'refused');
  const webhook =
    group.policy.webhook === null ? undefined : await judgeWebhook(deps, order, facts, group.policy.webhook);
  if (webhook !== undefined) rules.push(webhook.shown);
  if (refusal !== undefined) return { outcome: 'refused', code: refusal.code, rules };
  if (webhook?.code !== undefined) return { outcome: 'refused', code: webhook.code, rules };
  const waits = webhook?.waits === true || findings.some(({ outcome }) => outcome === 'waits');
  return waits
    ? { outcome: 'waits for approval', code: 'APPROVAL_PENDING', rules }
    : { outcome: 'issued', code: null, rules };
}

async function collectFacts(deps: TestGroupDeps, order: TestGroupOrder, at: number): Promise<PolicyFacts> {
  const { read } = deps.store;
  const device = order.deviceId === undefined ? undefined : await read.devices.find(order.deviceId);
  if (device !== undefined && device.group !== order.name) {
    throw new GatewayError('STATE_CONFLICT', `"${device.deviceId}" is in the group "${device.group}"`);
  }
  if (device === undefined && order.deviceId !== undefined) {
    const stranger = { deviceId: order.deviceId, group: order.name, hardwareSerial: null };
    const other = await findLookAlike(read, stranger);
    if (other !== undefined) throw new GatewayError('STATE_CONFLICT', other.detail);
  }
  const certificates = device === undefined ? [] : await read.certificates.listByDevice(device.deviceId);
  const enrolled = await read.devices.countEnrolled(order.name);
  return {
    kind: 'enroll',
    deviceId: order.deviceId ?? '(any)',
    owner: device?.owner ?? null,
    keyKind: order.keyKind ?? 'ec-p256',
    proofLevel: order.proofLevel ?? 'software',
    address: order.address ?? '127.0.0.1',
    at,
    binding: 'none',
    isRegistered: device !== undefined,
    isEnrolledWithOtherKey: certificates.some(({ state, notAfter }) => state === 'active' && notAfter >= at),
    devicesEnrolled: device?.state === 'enrolled' ? enrolled - 1 : enrolled,
    enrolledLastHour: await read.enrollments.countFirstSince(order.name, at - HOUR_MS, order.deviceId),
  };
}

async function judgeWebhook(
  deps: TestGroupDeps,
  order: TestGroupOrder,
  facts: PolicyFacts,
  url: string,
): Promise<{ shown: GroupTested['rules'][number]; code?: string; waits?: boolean }> {
  const rule = 'webhook';
  if (order.askWebhook !== true) return { shown: { rule, outcome: 'not checked', detail: `${url} would be asked` } };
  try {
    const { decision, reason } = await deps.webhook.ask(url, {
      version: 1,
      attemptId: 'test',
      kind: 'enroll',
      deviceId: parseDeviceId(order.deviceId ?? 'any'),
      group: order.name,
      owner: facts.owner,
      hardwareSerial: null,
      grounds: order.grounds ?? 'test',
      address: facts.address,
      keyKind: facts.keyKind,
      spkiSha256: '0'.repeat(64),
      proofLevel: facts.proofLevel,
    });
    const detail = `${decision}${reason === null ? '' : `: ${reason}`}`;
    if (decision === 'deny') return { shown: { rule, outcome: 'refused', detail }, code: 'POLICY_WEBHOOK_REFUSED' };
    return { shown: { rule, outcome: 'passed', detail }, waits: decision === 'ask a person' };
  } catch (error) {
    const detail = error instanceof Error ? error.message : 'it failed';
    return { shown: { rule, outcome: 'refused', detail }, code: 'POLICY_WEBHOOK_UNAVAILABLE' };
  }
}
