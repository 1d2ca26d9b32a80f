import type { SerialNumber } from '#ca/pkix/serial-number.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { CertificateRecord } from '#gateway/domain/certificate-record.ts';
import type { StatusChange } from '#gateway/domain/status-change.ts';
import type { Store } from '#gateway/ports/store.ts';
import type { QuarantineDeps } from './quarantine-device.ts';
import { type ShutOutDeps, shutOut } from './shut-out.ts';

/**
 * What another process on the database has revoked or released, within a look or two: whoever comes in is held against
 * the database anyway, and this is for sessions that are open here. What was revoked here is in the deny set since its
 * commit, and its devices have a second to acknowledge it: it is passed over.
 */
export async function followStatusChanges(
  deps: ShutOutDeps & { store: Pick<Store, 'read'> },
  changes: readonly StatusChange[],
): Promise<void> {
  const { denySet, store } = deps;
  const last = new Map<SerialNumber, StatusChange['change']>(changes.map(({ serial, change }) => [serial, change]));
  const revoked: CertificateRecord[] = [];
  for (const [serial, change] of last) {
    const isReleased = change === 'released';
    if (denySet.has(serial) !== isReleased) continue;
    const certificate = await store.read.certificates.find(serial);
    if (certificate === undefined) continue;
    if (isReleased && (certificate.state === 'active' || certificate.state === 'pending')) denySet.remove([serial]);
    if (!isReleased && certificate.state === 'revoked') revoked.push(certificate);
  }
  await shutOut(deps, revoked, 'revoked by another process');
}

/** The devices in quarantine as the database has them; mended at the next look where one changes meanwhile. */
export async function followQuarantine({
  store,
  broker,
  quarantined,
}: Pick<QuarantineDeps, 'broker' | 'quarantined'> & { store: Pick<Store, 'read'> }): Promise<void> {
  const known = new Set<DeviceId>();
  for (let after: DeviceId | undefined; ; ) {
    const page = await store.read.devices.listIds({ state: 'quarantined', limit: 1000, after });
    for (const deviceId of page) known.add(deviceId);
    after = page.at(-1);
    if (after === undefined) break;
  }
  for (const deviceId of known) {
    if (quarantined.has(deviceId)) continue;
    quarantined.add(deviceId);
    broker.setQuarantined(deviceId, true);
  }
  for (const deviceId of quarantined) {
    // Put into quarantine here since the look began: its commit is there by now.
    if (known.has(deviceId) || (await store.read.devices.find(deviceId))?.state === 'quarantined') continue;
    quarantined.delete(deviceId);
    broker.setQuarantined(deviceId, false);
  }
}
