import type { SerialNumber } from '#ca/pkix/serial-number.ts';
import type { RevocationReason } from '#ca/revocation/reasons.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import { isRevocable } from '#gateway/domain/revocable.ts';
import type { RevocationJob, RevocationJobItem } from '#gateway/domain/revocation-job.ts';
import type { Tables } from '#gateway/ports/store.ts';
import { mayComeBack } from './expand-revocation.ts';
import type { QueueNoticeDeps } from './queue-notice.ts';
import { recordCertificateRevocation } from './record-certificate-revocation.ts';
import { type RecordedRevocation, recordDeviceRevocation } from './record-device-revocation.ts';

/** After so many the event loop gets its turn, so that no door stands still for a whole batch. */
const BREATHER = 20;

/**
 * Items of a job in one transaction: each with its certificate, device, notice, audit and its own outcome.
 * @returns what was revoked; undefined when the job is not running any more, and nothing was done
 */
export async function recordBatch(
  tables: Tables,
  deps: QueueNoticeDeps,
  { job, items, now }: { job: RevocationJob; items: readonly RevocationJobItem[]; now: number },
): Promise<RecordedRevocation[] | undefined> {
  if ((await tables.revocationJobs.find(job.id))?.state !== 'running') return undefined;
  const revoked: RecordedRevocation[] = [];
  const done = new Set<SerialNumber>();
  for (const [index, item] of items.entries()) {
    if (done.has(item.serial)) continue;
    const recorded = await recordItem(tables, deps, job, item, now);
    if (recorded !== undefined) revoked.push(recorded);
    const serials = recorded?.serials ?? [];
    for (const serial of serials) {
      done.add(serial);
      // What goes with a certificate that is named was no item so far.
      if (serial !== item.serial && !isOfWholeDevices(job))
        await tables.revocationJobs.addItems([
          { ...item, serial, state: 'waiting', closedAfterMs: null, detail: null },
        ]);
      await tables.revocationJobs.updateItem(job.id, serial, { state: 'revoked' });
    }
    if (!serials.includes(item.serial)) {
      await tables.revocationJobs.updateItem(job.id, item.serial, {
        state: 'unchanged',
        detail: 'it was revoked before or has expired',
      });
    }
    if (index % BREATHER === BREATHER - 1) await new Promise((resolve) => setImmediate(resolve));
  }
  return revoked;
}

/** Of whole devices everything goes: their tickets too, and what is under way. */
async function recordItem(
  tables: Tables,
  deps: QueueNoticeDeps,
  job: RevocationJob,
  { serial, deviceId }: RevocationJobItem,
  now: number,
): Promise<RecordedRevocation | undefined> {
  const reason = job.reason as RevocationReason;
  const actor = job.createdBy;
  if (deviceId === null || !isOfWholeDevices(job))
    return recordCertificateRevocation(tables, deps, { serial, reason, actor }, now);
  const certificate = await tables.certificates.find(serial);
  const isStanding = certificate !== undefined && isRevocable(certificate, now);
  // It may have ended since the job began: the device could still come back with a ticket, or within the grace.
  if (!isStanding) {
    const device = await tables.devices.find(deviceId);
    if (device === undefined || !(await mayComeBack(tables, device))) return undefined;
  }
  return recordDeviceRevocation(tables, deps, { deviceId, reason, actor, becomes: 'revoked' }, now);
}

function isOfWholeDevices({ scope }: Pick<RevocationJob, 'scope'>): boolean {
  return scope === 'device' || scope === 'group';
}

/**
 * Devices of the job without a certificate: they could still come with a ticket. One transaction.
 * @returns undefined when the job is not running any more, and nothing was done
 */
export async function recordBareDevices(
  tables: Tables,
  deps: QueueNoticeDeps,
  { job, deviceIds, now }: { job: RevocationJob; deviceIds: readonly DeviceId[]; now: number },
): Promise<RecordedRevocation[] | undefined> {
  if ((await tables.revocationJobs.find(job.id))?.state !== 'running') return undefined;
  const order = { reason: job.reason as RevocationReason, actor: job.createdBy, becomes: 'revoked' as const };
  const revoked: RecordedRevocation[] = [];
  for (const deviceId of deviceIds) {
    revoked.push(await recordDeviceRevocation(tables, deps, { ...order, deviceId }, now));
  }
  return revoked;
}
