import { isPrintable } from '#ca/pkix/der.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { DevicesImported } from '#gateway/contract/operator-api.ts';
import { auditEntry } from '#gateway/domain/audit-entry.ts';
import { type Device, newDevice } from '#gateway/domain/device.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import { DEFAULT_GROUP, type Group } from '#gateway/domain/group.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { Store, Tables } from '#gateway/ports/store.ts';
import { findHardwareOwner, findLookAlike } from './find-look-alike.ts';

export type ImportDeps = { store: Store; clock: Clock };

export type DeviceEntry = {
  deviceId: DeviceId;
  group?: string;
  hardwareSerial?: string;
  owner?: string;
  /** Of its endorsement key, lower-case hexadecimal: goes on the allow list, for this device alone. */
  ekSha256?: string;
};

const MOST_ENTRIES = 1000;
/** Rows that share a transaction: other writers wait behind it. */
const BATCH = 100;

/**
 * Registers devices in advance, without tickets: for those that come with a maker's certificate or through a registrar.
 * Each row has its own outcome; a whole list may be sent again after an interruption.
 * @throws GatewayError REQUEST_INVALID for too many rows
 */
export async function importDevices(
  deps: ImportDeps,
  { entries, actor }: { entries: DeviceEntry[]; actor: string },
): Promise<DevicesImported> {
  if (entries.length > MOST_ENTRIES)
    throw new GatewayError('REQUEST_INVALID', `at most ${MOST_ENTRIES} devices are imported at once`);
  const items: DevicesImported['items'] = [];
  for (let from = 0; from < entries.length; from += BATCH) {
    const batch = entries.slice(from, from + BATCH);
    const done = await deps.store.write(async (tables) => {
      const outcomes: DevicesImported['items'] = [];
      for (const entry of batch) outcomes.push(await importOne(tables, entry, { actor, now: deps.clock.now() }));
      return outcomes;
    });
    items.push(...done);
  }
  return { items };
}

type Outcome = DevicesImported['items'][number];

async function importOne(
  tables: Tables,
  entry: DeviceEntry,
  { actor, now }: { actor: string; now: number },
): Promise<Outcome> {
  const { deviceId, ekSha256 } = entry;
  const group = await tables.groups.find(entry.group ?? DEFAULT_GROUP);
  const known = await tables.devices.find(deviceId);
  const fault =
    findFault(entry, group) ??
    (await findClash(tables, entry, { group, isKnown: known !== undefined })) ??
    (known === undefined ? undefined : findDifference(known, entry));
  if (fault !== undefined || group === undefined) return { deviceId, outcome: 'refused', detail: fault ?? 'no group' };
  const added: string[] = [];
  if (ekSha256 !== undefined && (await allowEk(tables, { deviceId, ekSha256, actor, now })))
    added.push('its endorsement key');
  if (known !== undefined) {
    if (known.owner === null && entry.owner !== undefined) {
      await giveOwner(tables, { deviceId, owner: entry.owner, actor, now });
      added.push('its owner');
    }
    return added.length === 0
      ? { deviceId, outcome: 'unchanged', detail: null }
      : { deviceId, outcome: 'added', detail: added.join(', ') };
  }
  await tables.devices.insert(
    newDevice(
      {
        deviceId,
        group: group.name,
        hardwareSerial: entry.hardwareSerial ?? null,
        owner: entry.owner ?? group.policy.owner,
      },
      now,
    ),
  );
  const detail = `group ${group.name}, hardware serial ${entry.hardwareSerial ?? 'unknown'}, imported`;
  await tables.audit.append(auditEntry({ at: now, actor, action: 'device.added', subject: deviceId, detail }));
  return { deviceId, outcome: 'added', detail: null };
}

function findFault(
  { hardwareSerial, ekSha256, group: name }: DeviceEntry,
  group: Group | undefined,
): string | undefined {
  if (group === undefined) return `no group "${name ?? DEFAULT_GROUP}"`;
  if (hardwareSerial !== undefined && (!/^.{1,64}$/.test(hardwareSerial) || !isPrintable(hardwareSerial)))
    return 'the hardware serial is not 1 to 64 letters, digits or plain punctuation';
  if (ekSha256 !== undefined && !/^[0-9a-f]{64}$/.test(ekSha256)) return 'the SHA-256 of the EK is not 64 hex digits';
  return undefined;
}

async function findClash(
  tables: Tables,
  { deviceId, hardwareSerial, ekSha256 }: DeviceEntry,
  { group, isKnown }: { group: Group | undefined; isKnown: boolean },
): Promise<string | undefined> {
  if (group !== undefined) {
    const entry = { deviceId, group: group.name, hardwareSerial: hardwareSerial ?? null };
    const other = await (isKnown ? findHardwareOwner : findLookAlike)(tables, entry);
    if (other !== undefined) return other.detail;
  }
  if (ekSha256 === undefined) return undefined;
  const allowed = await tables.ekAllowList.find(ekSha256);
  const owner = allowed?.deviceId ?? (await tables.endorsements.findByEk(ekSha256))?.deviceId;
  return owner !== undefined && owner !== deviceId ? `the endorsement key belongs to "${owner}"` : undefined;
}

function findDifference(known: Device, { group, hardwareSerial, owner }: DeviceEntry): string | undefined {
  if (known.state === 'retired') return 'it is retired';
  if (group !== undefined && known.group !== group) return `it is registered in the group "${known.group}"`;
  if (hardwareSerial !== undefined && known.hardwareSerial !== hardwareSerial)
    return `it is registered with ${known.hardwareSerial === null ? 'no' : 'another'} hardware serial`;
  // Nobody's is given one: a group that asks for owners later must not shut out who was there before.
  if (owner !== undefined && known.owner !== null && known.owner !== owner)
    return 'it is registered with another owner';
  return undefined;
}

async function giveOwner(
  tables: Tables,
  { deviceId, owner, actor, now }: { deviceId: DeviceId; owner: string; actor: string; now: number },
): Promise<void> {
  await tables.devices.update(deviceId, { owner });
  await tables.audit.append(
    auditEntry({ at: now, actor, action: 'device.owner-given', subject: deviceId, detail: owner }),
  );
}

/** @returns true when it was not on the list for this device before */
async function allowEk(
  tables: Tables,
  { deviceId, ekSha256, actor, now }: { deviceId: DeviceId; ekSha256: string; actor: string; now: number },
): Promise<boolean> {
  const note = (await tables.ekAllowList.find(ekSha256))?.note ?? null;
  if (!(await tables.ekAllowList.put({ ekSha256, deviceId, note, addedAt: now }))) return false;
  const detail = `EK ${ekSha256}`;
  await tables.audit.append(auditEntry({ at: now, actor, action: 'ek.allowed', subject: deviceId, detail }));
  return true;
}
