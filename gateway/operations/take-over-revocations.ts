import { parseCertificate } from '#ca/pkix/certificate.ts';
import { PkixError } from '#ca/pkix/pkix-error.ts';
import { isSerialNumber, type SerialNumber } from '#ca/pkix/serial-number.ts';
import type { CertificateAuthority, JournaledAuthority } from '#ca/ports/certificate-authority.ts';
import { type Crl, parseCrl, verifyCrlSignature } from '#ca/revocation/parse-crl.ts';
import type { RevokedEntry } from '#ca/revocation/revoked-entries.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import { auditEntry } from '#gateway/domain/audit-entry.ts';
import { HOLD, isHeld, letsIn } from '#gateway/domain/revocable.ts';
import type { Store, Tables } from '#gateway/ports/store.ts';
import { closeTickets } from './close-tickets.ts';
import { endQuarantineNotices } from './end-quarantine-notices.ts';
import type { ListIssuer } from './list-issuers.ts';
import { markRevoked } from './mark-revoked.ts';
import { listName } from './published-lists.ts';
import { resolveOpenAlarms } from './resolve-alarms.ts';

export type TakeOverDeps = { store: Store; authority: CertificateAuthority & JournaledAuthority };

/** Each transaction holds up the others for some milliseconds. */
const BATCH = 200;
const ACTOR = 'gateway';

/** Lists that are later than the store's own; `isComplete`: false when the authority has signed one and cannot show it. */
export type LaterLists = { lists: Crl[]; isComplete: boolean };

/** @throws AuthorityError */
export async function findLaterLists(deps: TakeOverDeps, issuers: readonly ListIssuer[]): Promise<LaterLists> {
  const found: LaterLists = { lists: [], isComplete: true };
  for (const { keyId, certificate } of issuers) {
    const { number, der } = await deps.authority.lastList(keyId);
    const own = await deps.store.read.statusLists.latest(listName('full', keyId));
    if (number <= (own?.number ?? 0)) continue;
    const list = der === undefined ? undefined : readList(der);
    if (list !== undefined && list.number === number && verifyCrlSignature(list, certificate.publicKey)) {
      found.lists.push(list);
    } else found.isComplete = false;
  }
  return found;
}

/**
 * What a later list holds is revoked here too, from the time it says: the store was restored from a copy from before. What
 * the store holds for revoked stays so, also where the list has released it: whoever was on hold is released again by a
 * person. @returns how many were new
 */
export async function takeOverRevocations(deps: TakeOverDeps, list: Crl, now: number): Promise<number> {
  const entries = [...list.revoked];
  let taken = 0;
  for (let first = 0; first < entries.length; first += BATCH) {
    const unknown: Unknown[] = [];
    for (const [serial, entry] of entries.slice(first, first + BATCH)) {
      if (isSerialNumber(serial)) unknown.push(...(await withEnd(deps, serial, entry)));
    }
    taken += await deps.store.write(async (tables) => {
      let count = 0;
      for (const one of unknown) if (await takeOver(tables, one, list, now)) count += 1;
      return count;
    });
  }
  return taken;
}

type Unknown = { serial: SerialNumber; entry: RevokedEntry; der: Buffer };

/** A list does not say when a certificate ends, so the certificate itself is looked up. */
async function withEnd(
  { store, authority }: TakeOverDeps,
  serial: SerialNumber,
  entry: RevokedEntry,
): Promise<Unknown[]> {
  const known = await store.read.certificates.find(serial);
  if (known?.state === 'revoked' && (!isHeld(known) || entry.reason === HOLD)) return [];
  if (known === undefined && (await store.read.revocations.find(serial)) !== undefined) return [];
  const der = known?.der ?? (await authority.findIssued(serial));
  return der === undefined ? [] : [{ serial, entry, der }];
}

async function takeOver(
  tables: Tables,
  { serial, entry: { reason, revokedAt }, der }: Unknown,
  list: Crl,
  now: number,
): Promise<boolean> {
  const known = await tables.certificates.find(serial);
  const { notAfter } = known ?? parseCertificate(der);
  const unknown = {
    serial,
    deviceId: null,
    notAfter,
    issuerKeyId: list.authorityKeyId,
    state: 'active',
    supersedeAt: null,
    revocationReason: null,
    der,
  } as const;
  await markRevoked(tables, known ?? unknown, { reason, now: revokedAt, requestedBy: ACTOR });
  const deviceId = known?.profile === 'device' ? known.deviceId : null;
  await tables.audit.append(
    auditEntry({
      at: now,
      actor: ACTOR,
      action: 'certificate.revoked',
      subject: deviceId ?? known?.profile ?? 'unknown',
      detail: `serial ${serial}: ${reason}, taken over from list ${list.number}`,
    }),
  );
  if (deviceId !== null) await settleDevice(tables, deviceId, reason, now);
  return true;
}

/** As the revocation has left it: on hold, or without anything it could come back with. */
async function settleDevice(tables: Tables, deviceId: DeviceId, reason: string, now: number): Promise<void> {
  const device = await tables.devices.find(deviceId);
  if (device === undefined || device.state === 'retired' || device.state === 'revoked') return;
  await closeTickets(tables, { deviceId, createdBefore: now, now, why: 'it was revoked since the backup' });
  if (reason === HOLD) {
    // One that was in quarantine at the time of the backup was released before it could be put on hold.
    await tables.devices.update(deviceId, { state: 'held' });
    await endQuarantine(tables, deviceId, 'it was put on hold since the backup', now);
    return;
  }
  const others = await tables.certificates.listByDevice(deviceId);
  if (others.some((other) => letsIn(other, now))) return;
  await tables.devices.update(deviceId, { state: 'revoked' });
  await endQuarantine(tables, deviceId, 'it was revoked since the backup', now);
  await tables.audit.append(
    auditEntry({
      at: now,
      actor: ACTOR,
      action: 'device.revoked',
      subject: deviceId,
      detail: `none of its certificates is left: ${reason}`,
    }),
  );
}

async function endQuarantine(tables: Tables, deviceId: DeviceId, why: string, now: number): Promise<void> {
  await resolveOpenAlarms(tables, { deviceId, decision: why, actor: ACTOR, now });
  await endQuarantineNotices(tables, { deviceId, now, why });
}

function readList(der: Buffer): Crl | undefined {
  try {
    return parseCrl(der);
  } catch (error) {
    if (error instanceof PkixError) return undefined;
    throw error;
  }
}
