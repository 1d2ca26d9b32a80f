import { createHash } from 'node:crypto';

/** When a device's turn comes in a campaign: SHA-256(deviceId || campaignId) mod width, the same for whoever computes it. */
export function campaignSlot(deviceId: string, campaign: { id: string; startsAt: number; width: number }): number {
  const digest = createHash('sha256').update(`${deviceId}${campaign.id}`).digest();
  return campaign.startsAt + Number(digest.readBigUInt64BE(0) % BigInt(Math.max(1, Math.round(campaign.width))));
}

/** Fewer ends say nothing about a fleet: one bad device of three is no third of it. */
const LEAST_ENDED = 10;

/** @param counts of those that have ended. @returns whether more of them failed than the campaign may bear. */
export function hasFailedTooOften(
  counts: { renewed: number; failed: number; all: number },
  abortPercent: number,
): boolean {
  const ended = counts.renewed + counts.failed;
  return ended >= Math.min(LEAST_ENDED, counts.all) && counts.failed * 100 > abortPercent * ended;
}
