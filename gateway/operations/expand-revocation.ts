import type { DeviceId } from '#gateway/contract/device-id.ts';
import { isDeviceId } from '#gateway/contract/device-id.ts';
import type { CertificateRecord } from '#gateway/domain/certificate-record.ts';
import type { Device } from '#gateway/domain/device.ts';
import { isRevocable } from '#gateway/domain/revocable.ts';
import type { RevocationJob } from '#gateway/domain/revocation-job.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { Store, Tables } from '#gateway/ports/store.ts';
import { devicesOf, isIssuing, revocableCertificates } from './revocation-targets.ts';

/**
 * Makes items of what there is to revoke now. Asked again it adds what has come since: a renewal may have been under
 * way while the job began. An issuer that is in use goes on issuing: of it only what there was when the job began.
 * @returns how many were new
 */
export async function expandJob(deps: { store: Store; clock: Clock }, job: RevocationJob): Promise<number> {
  const { store, clock } = deps;
  let added = 0;
  const now = clock.now();
  const isIssuer = job.scope === 'issuer' && (await isIssuing(store.read, job.target));
  for await (const page of revocableCertificates(store.read, job, now)) {
    const items = page.filter((one) => !isIssuer || isMeant(job, one, now)).map((one) => newItem(job, one));
    if (items.length > 0) added += await store.write((tables) => tables.revocationJobs.addItems(items));
  }
  return added;
}

/** One from a future that the clock has come back from was made before, too. */
function isMeant({ createdAt }: RevocationJob, { issuedAt }: CertificateRecord, now: number): boolean {
  return issuedAt <= createdAt || issuedAt > now;
}

function newItem({ id }: RevocationJob, { serial, deviceId }: CertificateRecord) {
  return { jobId: id, serial, deviceId, state: 'waiting' as const, closedAfterMs: null, detail: null };
}

/**
 * Without a certificate that is good: by a ticket, a person's word, or what is under way. One that was revoked before may
 * have got another ticket since.
 */
export async function mayComeBack(
  { tickets, enrollments, enrollmentRequests }: Pick<Tables, 'tickets' | 'enrollments' | 'enrollmentRequests'>,
  { deviceId, state }: Pick<Device, 'deviceId' | 'state'>,
): Promise<boolean> {
  if (state === 'retired') return false;
  if (state !== 'revoked') return true;
  const open = await tickets.listByDevice(deviceId);
  if (open.some(({ spentAt, revokedAt }) => spentAt === null && revokedAt === null)) return true;
  if ((await enrollmentRequests.listOpenByDevice(deviceId)).length > 0) return true;
  return (await enrollments.listUnfinishedByDevice(deviceId)).length > 0;
}

/** Devices meant by the job that have no certificate to revoke, page by page: only a ticket, or a request under way. */
export async function* bareDevices(
  deps: { store: Store; clock: Clock },
  { scope, target }: RevocationJob,
): AsyncGenerator<DeviceId[]> {
  const { read } = deps.store;
  const now = deps.clock.now();
  const isBare = async (device: Device): Promise<boolean> =>
    (await mayComeBack(read, device)) &&
    !(await read.certificates.listByDevice(device.deviceId)).some((one) => isRevocable(one, now));
  const bareOf = async (devices: readonly Device[]): Promise<DeviceId[]> => {
    const bare: DeviceId[] = [];
    for (const device of devices) if (await isBare(device)) bare.push(device.deviceId);
    return bare;
  };
  if (scope === 'device') {
    const device = isDeviceId(target) ? await read.devices.find(target) : undefined;
    if (device !== undefined) yield await bareOf([device]);
  } else if (scope === 'group') {
    for await (const devices of devicesOf(read, target)) yield await bareOf(devices);
  }
}
