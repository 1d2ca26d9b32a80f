import type { AlarmEvidence, CloneReaction, DeviceQuarantined } from '#gateway/contract/alarm-api.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import { auditEntry } from '#gateway/domain/audit-entry.ts';
import type { CloneEvidence } from '#gateway/domain/clone/clone-evidence.ts';
import type { IdentityTrails } from '#gateway/domain/clone/identity-trails.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import type { IdentityAlarm } from '#gateway/domain/identity-alarm.ts';
import type { Log } from '#gateway/ports/log.ts';
import type { Store, Tables } from '#gateway/ports/store.ts';
import { type DeliverDeps, deliverPendingNotices } from './deliver-notices.ts';
import { type QueueNoticeDeps, queueNotice } from './queue-notice.ts';

export type QuarantineDeps = DeliverDeps &
  QueueNoticeDeps & {
    log: Log;
    /** Devices in quarantine: sessions are limited by it, so that none slips in between two looks into the database. */
    quarantined: Set<DeviceId>;
    trails: IdentityTrails;
  };

const NOTICE_LIFE_MS = 7 * 24 * 3600 * 1000;
const NONCE_BYTES = 32;
/** The same sign again is counted so often at most: two that fight come every few seconds. */
const AGAIN_EVERY_MS = 60_000;

/**
 * Raises the alarm about a sign of a clone and, unless the rules say otherwise, puts the device into quarantine: its
 * sessions stay and keep the topics that an identity needs, so that it can be told and asked; its certificates stand,
 * since nobody knows yet who is the original. A device with a TPM is asked to prove its key again. While an alarm of
 * this kind is open, the same sign only adds to it.
 * @returns undefined when there was nothing to do
 */
export async function raiseAlarm(
  deps: QuarantineDeps,
  order: { deviceId: DeviceId; evidence: CloneEvidence; reaction: CloneReaction },
): Promise<IdentityAlarm | undefined> {
  const { deviceId, evidence, reaction } = order;
  const now = deps.clock.now();
  const open = await findOpen(deps.store.read, deviceId, evidence);
  const mayQuarantine =
    reaction === 'quarantine' && (await deps.store.read.devices.find(deviceId))?.state === 'enrolled';
  if (open !== undefined && !mayQuarantine && readEvidence(open).lastAt > now - AGAIN_EVERY_MS) return undefined;
  const { alarm, isNew, isQuarantined } = await deps.store.write(async (tables) => {
    const recorded = await recordAlarm(tables, deps, { ...order, now });
    const device = await tables.devices.find(deviceId);
    if (reaction !== 'quarantine' || device?.state !== 'enrolled') return { ...recorded, isQuarantined: false };
    await recordQuarantine(tables, deps, { deviceId, reason: evidence.kind, actor: 'gateway', now });
    if ((await tables.endorsements.find(deviceId)) !== undefined) await queueAttest(tables, deps, order, now);
    return { ...recorded, isQuarantined: true };
  });
  // Also when it is the device enrolled anew, and nobody has closed the alarm about the one before.
  if (isNew || isQuarantined) {
    deps.metrics.identityAlarm(evidence.kind);
    const { kind, detail, address, serial } = evidence;
    deps.log.error('identity alarm', { alarm: alarm.id, deviceId, kind, detail, address, serial, isQuarantined });
  }
  if (isQuarantined) await limitSessions(deps, deviceId);
  return alarm;
}

/**
 * By an operator's word.
 * @throws GatewayError NOT_FOUND, STATE_CONFLICT
 */
export async function quarantineDevice(
  deps: QuarantineDeps,
  order: { deviceId: DeviceId; reason: string; actor: string },
): Promise<DeviceQuarantined> {
  const { deviceId } = order;
  const now = deps.clock.now();
  await deps.store.write(async (tables) => {
    const device = await tables.devices.find(deviceId);
    if (device === undefined) throw new GatewayError('NOT_FOUND', `no device "${deviceId}" is registered`);
    if (device.state !== 'enrolled') {
      throw new GatewayError(
        'STATE_CONFLICT',
        `"${deviceId}" is ${device.state}; only an enrolled device is quarantined`,
      );
    }
    await recordQuarantine(tables, deps, { ...order, now });
  });
  deps.log.warn('device quarantined', { deviceId, reason: order.reason, actor: order.actor });
  return { deviceId, sessionsLimited: await limitSessions(deps, deviceId) };
}

/** At a start: what the last run knew. Page by page, by the index on the state. */
export async function loadQuarantined({ store, quarantined }: Pick<QuarantineDeps, 'store' | 'quarantined'>) {
  for (let after: DeviceId | undefined; ; ) {
    const page = await store.read.devices.listIds({ state: 'quarantined', limit: 1000, after });
    for (const deviceId of page) quarantined.add(deviceId);
    after = page.at(-1);
    if (after === undefined) return;
  }
}

/** A quarantine also ends with the certificates: the device was revoked, and has enrolled anew. */
export async function forgetEndedQuarantine(
  { store, quarantined }: Pick<QuarantineDeps, 'quarantined'> & { store: Pick<Store, 'read'> },
  deviceId: DeviceId,
): Promise<void> {
  // Nearly nobody is in there. Looked at afterwards, since a quarantine is committed before it gets in there.
  if (!quarantined.has(deviceId)) return;
  const device = await store.read.devices.find(deviceId);
  if (device?.state !== 'quarantined') quarantined.delete(deviceId);
}

export function readEvidence({ evidence }: Pick<IdentityAlarm, 'evidence'>): AlarmEvidence {
  // Written by recordAlarm alone.
  return JSON.parse(evidence) as AlarmEvidence;
}

async function findOpen(
  { identityAlarms }: Pick<Tables, 'identityAlarms'>,
  deviceId: DeviceId,
  { kind }: CloneEvidence,
): Promise<IdentityAlarm | undefined> {
  return (await identityAlarms.listOpenByDevice(deviceId)).find((alarm) => alarm.kind === kind);
}

async function recordAlarm(
  tables: Tables,
  { random }: QueueNoticeDeps,
  order: { deviceId: DeviceId; evidence: CloneEvidence; now: number },
): Promise<{ alarm: IdentityAlarm; isNew: boolean }> {
  const { deviceId, evidence, now } = order;
  const { kind, detail, address, serial } = evidence;
  // Read again inside: two signs may have come at once.
  const open = await findOpen(tables, deviceId, evidence);
  if (open !== undefined) {
    const seen: AlarmEvidence = { ...readEvidence(open), lastAt: now };
    const again = JSON.stringify({ ...seen, times: seen.times + 1 });
    await tables.identityAlarms.update(open.id, { evidence: again });
    return { alarm: { ...open, evidence: again }, isNew: false };
  }
  const first: AlarmEvidence = { detail, address, serial, times: 1, lastAt: now };
  const alarm: IdentityAlarm = {
    id: random.id('al'),
    deviceId,
    kind,
    state: 'open',
    at: now,
    evidence: JSON.stringify(first),
    decision: null,
    resolvedAt: null,
    resolvedBy: null,
  };
  await tables.identityAlarms.insert(alarm);
  await tables.audit.append(
    auditEntry({
      at: now,
      actor: 'gateway',
      action: 'alarm.raised',
      subject: deviceId,
      detail: `${alarm.id} ${kind}: ${detail}`,
    }),
  );
  return { alarm, isNew: true };
}

async function recordQuarantine(
  tables: Tables,
  deps: QueueNoticeDeps,
  order: { deviceId: DeviceId; reason: string; actor: string; now: number },
): Promise<void> {
  const { deviceId, reason, actor, now } = order;
  await tables.devices.update(deviceId, { state: 'quarantined' });
  await tables.audit.append(
    auditEntry({ at: now, actor, action: 'device.quarantined', subject: deviceId, detail: reason }),
  );
  const notice = { kind: 'quarantine', body: { active: true, reason } } as const;
  await queueNotice(tables, deps, { deviceId, now, life: NOTICE_LIFE_MS, actor, notice });
}

async function queueAttest(
  tables: Tables,
  deps: QueueNoticeDeps,
  { deviceId, evidence }: { deviceId: DeviceId; evidence: CloneEvidence },
  now: number,
): Promise<void> {
  const nonce = deps.random.bytes(NONCE_BYTES).toString('base64url');
  const notice = { kind: 'attest', body: { nonce, reason: evidence.kind } } as const;
  await queueNotice(tables, deps, { deviceId, now, life: NOTICE_LIFE_MS, actor: 'gateway', notice });
}

/** After the commit: the set first and the table second, so that a session coming in now is found by one or the other. */
async function limitSessions(deps: QuarantineDeps, deviceId: DeviceId): Promise<number> {
  deps.quarantined.add(deviceId);
  const limited = deps.broker.setQuarantined(deviceId, true);
  await deliverPendingNotices(deps, deviceId);
  return limited.length;
}
