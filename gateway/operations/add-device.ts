import type { DeviceId } from '#gateway/contract/device-id.ts';
import { formatJoinUrl } from '#gateway/contract/join-url.ts';
import type { DeviceAdded } from '#gateway/contract/operator-api.ts';
import { auditEntry } from '#gateway/domain/audit-entry.ts';
import type { CertificateRecord } from '#gateway/domain/certificate-record.ts';
import { isBarred, newDevice } from '#gateway/domain/device.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import { DEFAULT_GROUP, type Group } from '#gateway/domain/group.ts';
import { formatTicket, hashTicket } from '#gateway/domain/ticket.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { Randomness } from '#gateway/ports/randomness.ts';
import type { Store, Tables } from '#gateway/ports/store.ts';
import { findLookAlike } from './find-look-alike.ts';
import type { RevocationPublisher } from './publish-revocations.ts';
import { type ShutOutDeps, shutOut } from './shut-out.ts';
import { takeBackTicket } from './take-back-ticket.ts';

export type AddDeviceDeps = {
  store: Store;
  clock: Clock;
  random: Randomness;
  /** Where devices reach EST, and the root they must find there. */
  join: { host: string; port: number; rootSha256: string };
};

export type AddTicketDeps = AddDeviceDeps & ShutOutDeps & { revocations: Pick<RevocationPublisher, 'published'> };

export type DeviceRegistration = {
  deviceId: DeviceId;
  group?: string;
  hardwareSerial?: string;
  owner?: string;
  actor: string;
};

const TICKET_BYTES = 16;

/**
 * Registers a device and makes its ticket. The ticket is returned here and nowhere else: only its hash is kept.
 * @throws GatewayError ALREADY_EXISTS: this one, or one that looks like it; NOT_FOUND (the group)
 */
export async function addDevice(deps: AddDeviceDeps, registration: DeviceRegistration): Promise<DeviceAdded> {
  const now = deps.clock.now();
  const { deviceId, actor } = registration;
  return deps.store.write(async (tables) => {
    if ((await tables.devices.find(deviceId)) !== undefined) {
      throw new GatewayError(
        'ALREADY_EXISTS',
        `"${deviceId}" is registered already; for another ticket use --new-ticket`,
      );
    }
    const group = await requireGroup(tables, registration.group ?? DEFAULT_GROUP);
    const { hardwareSerial = null, owner = group.policy.owner } = registration;
    const other = await findLookAlike(tables, { deviceId, group: group.name, hardwareSerial });
    if (other !== undefined) throw new GatewayError('ALREADY_EXISTS', other.detail);
    await tables.devices.insert(newDevice({ deviceId, group: group.name, hardwareSerial, owner }, now));
    await tables.audit.append(
      auditEntry({ at: now, actor, action: 'device.added', subject: deviceId, detail: `group ${group.name}` }),
    );
    return makeTicket(deps, tables, { deviceId, actor, now, group });
  });
}

/**
 * Another ticket for a device that has no certificate in use: it never got one, or an operator revoked it. Open tickets
 * of the device are revoked, so that one at most is good.
 * @throws GatewayError NOT_FOUND, STATE_CONFLICT
 */
export async function addTicket(
  deps: AddTicketDeps,
  order: { deviceId: DeviceId; actor: string },
): Promise<DeviceAdded> {
  const now = deps.clock.now();
  const { deviceId, actor } = order;
  const { added, ended } = await deps.store.write(async (tables) => {
    const device = await tables.devices.find(deviceId);
    if (device === undefined)
      throw new GatewayError('NOT_FOUND', `no device "${deviceId}" is registered; add it first`);
    if (device.state === 'enrolled' && (await hasValidCertificate(tables, deviceId, now))) {
      // A new key never displaces an accepted one by itself; revoking is the operator's explicit word.
      throw new GatewayError('STATE_CONFLICT', `"${deviceId}" is enrolled; revoke it first if it must enroll again`);
    }
    if (isBarred(device)) {
      throw new GatewayError('STATE_CONFLICT', `"${deviceId}" is ${device.state} and gets no ticket`);
    }
    const ended: CertificateRecord[] = [];
    for (const ticket of await tables.tickets.listByDevice(deviceId)) {
      if (ticket.revokedAt !== null || ticket.spentAt !== null) continue;
      ended.push(...(await takeBackTicket(tables, ticket, { now, actor, why: 'replaced by another' })));
    }
    const group = await requireGroup(tables, device.group);
    return { added: await makeTicket(deps, tables, { deviceId, actor, now, group }), ended };
  });
  await shutOut(deps, ended, 'ticket taken back');
  if (ended.length > 0) await deps.revocations.published();
  return added;
}

/** An expired identity is no identity: such a device may get a ticket without being revoked first. */
async function hasValidCertificate(tables: Tables, deviceId: DeviceId, now: number): Promise<boolean> {
  const certificates = await tables.certificates.listStanding(deviceId);
  return certificates.some(({ state, notAfter }) => state === 'active' && notAfter >= now);
}

async function requireGroup(tables: Tables, name: string): Promise<Group> {
  const group = await tables.groups.find(name);
  if (group === undefined)
    throw new GatewayError('NOT_FOUND', `no group "${name}"; make it with: gatehouse group add ${name}`);
  return group;
}

async function makeTicket(
  deps: AddDeviceDeps,
  tables: Tables,
  { deviceId, actor, now, group }: { deviceId: DeviceId; actor: string; now: number; group: Group },
): Promise<DeviceAdded> {
  const ticket = formatTicket(deps.random.bytes(TICKET_BYTES));
  const id = deps.random.id('t');
  const expiresAt = now + group.policy.ticketSeconds * 1000;
  await tables.tickets.insert({
    id,
    deviceId,
    secretSha256: hashTicket(ticket),
    createdAt: now,
    expiresAt,
    createdBy: actor,
    boundSpkiSha256: null,
    boundSerial: null,
    spentAt: null,
    claimSerial: null,
    revokedAt: null,
  });
  await tables.audit.append(auditEntry({ at: now, actor, action: 'ticket.created', subject: deviceId, detail: id }));
  return { deviceId, ticket, joinUrl: formatJoinUrl({ ...deps.join, deviceId, ticket }), expiresAt };
}
