import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { EnrollmentGrounds, GroupTested, KeyKind, ProofLevel } from '#gateway/contract/operator-api.ts';
import { type Device, newDevice } from '#gateway/domain/device.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import type { Group } from '#gateway/domain/group.ts';
import { judgePolicy, type PolicyFacts, type PolicyFinding } from '#gateway/domain/policy/judge-policy.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { PolicyWebhook } from '#gateway/ports/policy-webhook.ts';
import type { Store } from '#gateway/ports/store.ts';
import { findLookAlike } from './find-look-alike.ts';
import { foreseeCredentials, foreseeProof } from './foresee-enrollment.ts';
import { gatherFacts } from './judge-enrollment.ts';
import { ownDoubt } from './own-doubt.ts';

export type TestGroupDeps = { store: Pick<Store, 'read'>; clock: Clock; webhook: PolicyWebhook };

export type TestGroupOrder = {
  name: string;
  /** A registered one is judged as it is; another, or none, as a stranger. */
  deviceId?: DeviceId;
  keyKind?: KeyKind;
  proofLevel?: ProofLevel;
  /** Left out: not held against the networks of the group. */
  address?: string;
  /** Milliseconds UTC. */
  at?: number;
  /** Left out: a registered device comes with a ticket; by what a stranger comes is not looked at. */
  grounds?: EnrollmentGrounds;
  /** The CSR is bound to its TLS session. */
  bound?: boolean;
  /** Else the webhook is named and not asked. */
  askWebhook?: boolean;
};

/** Of whom no name was said; no device can have it. */
const NOBODY = '(any)' as DeviceId;

/** The key that is thought of: none that the device has had. */
const NEW_KEY = '0'.repeat(64);

/**
 * What a first enrollment with a new key would get from a group, and why: every rule, as the real one meets them, in that
 * order. Changes nothing. @throws GatewayError NOT_FOUND, STATE_CONFLICT
 */
export async function testGroup(deps: TestGroupDeps, order: TestGroupOrder): Promise<GroupTested> {
  const { read } = deps.store;
  const group = await read.groups.find(order.name);
  if (group === undefined) throw new GatewayError('NOT_FOUND', `no group "${order.name}"`);
  const at = order.at ?? deps.clock.now();
  const { device, isRegistered } = await findApplicant(deps, order, group);
  const by = order.grounds ?? (isRegistered ? 'ticket' : undefined);
  const facts = await gatherFacts(
    read,
    {
      kind: 'enroll',
      arrival: { address: order.address ?? '' },
      binding: order.bound === true ? 'verified' : 'none',
      device,
      isRegistered,
      group,
      csr: { keyKind: order.keyKind ?? 'ec-p256', spkiSha256: NEW_KEY },
      proof: { level: order.proofLevel ?? 'software' },
    },
    at,
  );
  const findings: PolicyFinding[] = [
    await foreseeCredentials(read, { by, device, isRegistered, group }),
    ...replaceFinding(judgePolicyOf(group, order, facts), await foreseeProof(read, { device, group, facts })),
  ];
  const doubt = by === undefined ? undefined : await ownDoubt(read, { by, device, spkiSha256: NEW_KEY, now: at });
  if (doubt !== undefined) findings.push({ rule: 'doubt', outcome: 'waits', detail: doubt });
  const rules: GroupTested['rules'] = findings.map(({ rule, outcome, detail }) => ({
    rule,
    outcome: outcome === 'waits' ? 'passed' : outcome,
    detail,
  }));
  const refusal = findings.find((finding) => finding.outcome === 'refused');
  const { webhook: url } = group.policy;
  const webhook = url === null ? undefined : await judgeWebhook(deps, order, { facts, device, by, url });
  if (webhook !== undefined) rules.push(webhook.shown);
  if (refusal !== undefined) return { outcome: 'refused', code: refusal.code, rules };
  if (webhook?.code !== undefined) return { outcome: 'refused', code: webhook.code, rules };
  const waits = webhook?.waits === true || findings.some(({ outcome }) => outcome === 'waits');
  return waits
    ? { outcome: 'waits for approval', code: 'APPROVAL_PENDING', rules }
    : { outcome: 'issued', code: null, rules };
}

async function findApplicant(
  { store: { read }, clock }: TestGroupDeps,
  { deviceId, name }: TestGroupOrder,
  { policy }: Group,
): Promise<{ device: Device; isRegistered: boolean }> {
  const known = deviceId === undefined ? undefined : await read.devices.find(deviceId);
  if (known !== undefined && known.group !== name) {
    throw new GatewayError('STATE_CONFLICT', `"${known.deviceId}" is in the group "${known.group}"`);
  }
  if (known !== undefined) return { device: known, isRegistered: true };
  const stranger = { deviceId: deviceId ?? NOBODY, group: name, hardwareSerial: null };
  if (deviceId !== undefined) {
    const other = await findLookAlike(read, stranger);
    if (other !== undefined) throw new GatewayError('STATE_CONFLICT', other.detail);
  }
  return { device: newDevice({ ...stranger, owner: policy.owner }, clock.now()), isRegistered: false };
}

/** What was not said cannot be judged: without a device there is no name to look at, and without an address no network. */
function judgePolicyOf({ policy }: Group, { deviceId, address }: TestGroupOrder, facts: PolicyFacts): PolicyFinding[] {
  const findings = judgePolicy(deviceId === undefined ? { ...policy, deviceIdPattern: null } : policy, facts);
  if (address !== undefined || policy.networks.length === 0) return findings;
  const detail = `only from ${policy.networks.join(', ')}; from where was not said`;
  return replaceFinding(findings, { rule: 'network', outcome: 'not checked', detail });
}

function replaceFinding(findings: readonly PolicyFinding[], better: PolicyFinding): PolicyFinding[] {
  return findings.map((finding) => (finding.rule === better.rule ? better : finding));
}

async function judgeWebhook(
  deps: TestGroupDeps,
  order: TestGroupOrder,
  { facts, device, by, url }: { facts: PolicyFacts; device: Device; by: EnrollmentGrounds | undefined; url: string },
): Promise<{ shown: GroupTested['rules'][number]; code?: string; waits?: boolean }> {
  const rule = 'webhook';
  if (order.askWebhook !== true) return { shown: { rule, outcome: 'not checked', detail: `${url} would be asked` } };
  try {
    const { decision, reason } = await deps.webhook.ask(url, {
      version: 1,
      attemptId: 'test',
      kind: 'enroll',
      deviceId: device.deviceId,
      group: order.name,
      owner: device.owner,
      hardwareSerial: device.hardwareSerial,
      grounds: by ?? 'test',
      address: order.address ?? '127.0.0.1',
      keyKind: facts.keyKind,
      spkiSha256: NEW_KEY,
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
