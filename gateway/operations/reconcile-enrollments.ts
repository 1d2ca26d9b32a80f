import { GatewayError } from '#gateway/domain/gateway-error.ts';
import type { Log } from '#gateway/ports/log.ts';
import { abandon, type IssueDeps, recordIssued } from './issue-recorded.ts';

export type ReconcileDeps = IssueDeps & { log: Log };

/** An intent younger than this may still be in the hands of a request that is running. */
const SETTLE_MS = 60_000;

/**
 * After a crash, and now and then: intents without a certificate are taken to the authority's own journal. What it
 * signed is recorded, so that the device that asks again gets it and no certificate exists that the gateway does not
 * know; what it never signed is given up and frees its ticket.
 * @param settled true at a start, when no request can be running.
 */
export async function reconcileEnrollments(deps: ReconcileDeps, options: { settled: boolean }): Promise<void> {
  const unfinished = await deps.store.read.enrollments.listUnfinished(1000);
  for (const enrollment of unfinished) {
    const now = deps.clock.now();
    if (!options.settled && now - enrollment.createdAt < SETTLE_MS) continue;
    const der = await deps.authority.findIssued(enrollment.serial);
    const device = await deps.store.read.devices.find(enrollment.deviceId);
    const group = device === undefined ? undefined : await deps.store.read.groups.find(device.group);
    if (der !== undefined) {
      const facts = { attemptId: enrollment.id, deviceId: enrollment.deviceId };
      try {
        await recordIssued(deps, enrollment, der, group?.policy.pendingLapseSeconds ?? 3600);
        deps.log.info('issuance completed after an interruption', facts);
      } catch (error) {
        // On the record as revoked: what allowed it was taken back meanwhile. The others are still to be done.
        if (!(error instanceof GatewayError) || error.code !== 'DEVICE_NOT_ALLOWED') throw error;
        deps.log.info('interrupted issuance taken back', facts);
      }
      continue;
    }
    await deps.store.write((tables) => abandon(tables, enrollment, now, 'interrupted before the authority signed'));
    deps.log.info('interrupted enrollment given up', { attemptId: enrollment.id, deviceId: enrollment.deviceId });
  }
}
