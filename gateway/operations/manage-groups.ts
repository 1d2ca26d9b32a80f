import { PROFILES } from '#ca/issuance/profiles.ts';
import { NO_LABELS } from '#gateway/contract/est.ts';
import type { GroupDetail, GroupPolicy } from '#gateway/contract/operator-api.ts';
import { auditEntry } from '#gateway/domain/audit-entry.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import { DEFAULT_GROUP, DEFAULT_POLICY, type Group } from '#gateway/domain/group.ts';
import { requireDeviceIdPattern } from '#gateway/domain/policy/glob.ts';
import { parseNetwork } from '#gateway/domain/policy/network-list.ts';
import { parseTimeWindow } from '#gateway/domain/policy/time-window.ts';
import { requireWebhookUrl } from '#gateway/domain/policy/webhook-url.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { Store, Tables } from '#gateway/ports/store.ts';

export type GroupDeps = { store: Store; clock: Clock };

const GROUP_NAME = /^[a-z0-9][a-z0-9._-]{0,62}$/;

export async function listGroups(deps: GroupDeps): Promise<GroupDetail[]> {
  const counts = await deps.store.read.devices.countByGroup();
  return (await deps.store.read.groups.list()).map((group) => detail(group, counts));
}

/** @throws GatewayError NOT_FOUND */
export async function showGroup(deps: GroupDeps, name: string): Promise<GroupDetail> {
  const group = await deps.store.read.groups.find(name);
  if (group === undefined) throw new GatewayError('NOT_FOUND', `no group "${name}"`);
  return detail(group, await deps.store.read.devices.countByGroup());
}

/** @throws GatewayError ALREADY_EXISTS, REQUEST_INVALID */
export async function addGroup(
  deps: GroupDeps,
  order: { name: string; change: Partial<GroupPolicy>; actor: string },
): Promise<GroupDetail> {
  if (!GROUP_NAME.test(order.name)) {
    throw new GatewayError(
      'REQUEST_INVALID',
      'a group name is 1 to 63 of a-z 0-9 . _ - and starts with a letter or digit',
    );
  }
  if (NO_LABELS.has(order.name)) {
    throw new GatewayError('REQUEST_INVALID', `"${order.name}" is an operation of EST, and could not be its label`);
  }
  const policy = { ...DEFAULT_POLICY, ...order.change };
  const now = deps.clock.now();
  await deps.store.write(async (tables) => {
    if ((await tables.groups.find(order.name)) !== undefined) {
      throw new GatewayError(
        'ALREADY_EXISTS',
        `the group "${order.name}" exists already; change it with: gatehouse group set`,
      );
    }
    await requirePolicy(tables, policy, order.name);
    await tables.groups.put({ name: order.name, version: 1, policy, updatedAt: now }, order.actor);
    await tables.audit.append(
      auditEntry({
        at: now,
        actor: order.actor,
        action: 'group.added',
        subject: `group ${order.name}`,
        detail: JSON.stringify(order.change),
      }),
    );
  });
  return showGroup(deps, order.name);
}

/** A change is a new version of the policy; the old ones stay on record. It counts from the next decision on. */
export async function setGroup(
  deps: GroupDeps,
  order: { name: string; change: Partial<GroupPolicy>; actor: string },
): Promise<GroupDetail> {
  const now = deps.clock.now();
  await deps.store.write(async (tables) => {
    const group = await tables.groups.find(order.name);
    if (group === undefined) throw new GatewayError('NOT_FOUND', `no group "${order.name}"`);
    const policy = { ...group.policy, ...order.change };
    await requirePolicy(tables, policy, order.name);
    await tables.groups.put({ name: order.name, version: group.version + 1, policy, updatedAt: now }, order.actor);
    await tables.audit.append(
      auditEntry({
        at: now,
        actor: order.actor,
        action: 'group.changed',
        subject: `group ${order.name}`,
        detail: JSON.stringify(order.change),
      }),
    );
  });
  return showGroup(deps, order.name);
}

/** The group every device is in that was given none. */
export async function ensureDefaultGroup(deps: GroupDeps): Promise<void> {
  if ((await deps.store.read.groups.find(DEFAULT_GROUP)) !== undefined) return;
  const now = deps.clock.now();
  await deps.store.write(async (tables) => {
    if ((await tables.groups.find(DEFAULT_GROUP)) !== undefined) return;
    await tables.groups.put({ name: DEFAULT_GROUP, version: 1, policy: DEFAULT_POLICY, updatedAt: now }, 'gateway');
  });
}

async function requirePolicy(tables: Tables, policy: GroupPolicy, name: string): Promise<void> {
  if (policy.keys.length === 0)
    throw new GatewayError('REQUEST_INVALID', 'a group must allow at least one kind of key');
  // What the authority's profile refuses would only be noticed when the first device enrolls.
  const { least, most } = PROFILES.device.lifetime;
  if (policy.lifetimeSeconds < least || policy.lifetimeSeconds > most) {
    const days = most / (24 * 3600);
    throw new GatewayError('REQUEST_INVALID', `a device certificate lives from ${least} seconds to ${days} days`);
  }
  if (policy.overlapSeconds >= policy.lifetimeSeconds) {
    throw new GatewayError(
      'REQUEST_INVALID',
      `the overlap (${policy.overlapSeconds} s) must be shorter than the lifetime of a certificate (${policy.lifetimeSeconds} s): set both`,
    );
  }
  const { mostWithoutStatus } = PROFILES.device;
  if (policy.noRevAvailBelowSeconds > mostWithoutStatus) {
    const days = mostWithoutStatus / (24 * 3600);
    throw new GatewayError('REQUEST_INVALID', `certificates go without CRL and OCSP up to lives of ${days} days`);
  }
  requireRules(policy);
  for (const other of policy.readFrom) {
    if (other !== name && (await tables.groups.find(other)) === undefined) {
      throw new GatewayError('NOT_FOUND', `no group "${other}" to read from`);
    }
  }
}

/** A rule that cannot be read would refuse everybody, and only be noticed then. */
function requireRules(policy: GroupPolicy): void {
  try {
    for (const network of policy.networks) parseNetwork(network);
    for (const window of policy.hours) parseTimeWindow(window);
    if (policy.deviceIdPattern !== null) requireDeviceIdPattern(policy.deviceIdPattern);
    if (policy.webhook !== null) requireWebhookUrl(policy.webhook);
  } catch (error) {
    if (error instanceof RangeError) throw new GatewayError('REQUEST_INVALID', error.message);
    throw error;
  }
  if (policy.serverKeygen && policy.proof !== 'software') {
    throw new GatewayError(
      'REQUEST_INVALID',
      'a key made by the gateway never lives in a TPM: serverkeygen goes with proof software only',
    );
  }
}

function detail(group: Group, counts: Map<string, number>): GroupDetail {
  return { name: group.name, version: group.version, policy: group.policy, devices: counts.get(group.name) ?? 0 };
}
