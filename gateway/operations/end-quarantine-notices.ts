import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { Tables } from '#gateway/ports/store.ts';

/**
 * The news of a quarantine that is over, and its challenge, must not reach a device that was away, nor one that has
 * enrolled anew: it would take itself for quarantined, and nobody would tell it otherwise. Inside the caller's transaction.
 */
export async function endQuarantineNotices(
  tables: Pick<Tables, 'notices'>,
  { deviceId, now, why }: { deviceId: DeviceId; now: number; why: string },
): Promise<void> {
  for (const { id, kind } of await tables.notices.listUnfinished(deviceId, now)) {
    if (kind === 'quarantine' || kind === 'attest') await tables.notices.update(id, { state: 'expired', detail: why });
  }
}
