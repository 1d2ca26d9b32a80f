import type { DeviceId } from '#gateway/contract/device-id.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import type { Tables } from '#gateway/ports/store.ts';

/** Certificates a device may get within an hour, or within one lifetime when that is shorter. */
const MAX_ISSUED = 20;
const HOUR_MS = 3_600_000;

/** Milliseconds. `since`: what it got before that is not counted. */
type Budgeted = { deviceId: DeviceId; lifetimeSeconds: number; since?: number; now: number };

/**
 * A device that asks in a loop fills database, journal and CRL at its own pace; one that works needs far less.
 * @throws GatewayError RATE_LIMITED
 */
export async function requireBudget(
  { certificates }: Pick<Tables, 'certificates'>,
  { deviceId, lifetimeSeconds, since = 0, now }: Budgeted,
): Promise<void> {
  const window = Math.min(HOUR_MS, lifetimeSeconds * 1000);
  const recent = await certificates.listIssuedSince(deviceId, Math.max(since, now - window + 1));
  if (recent.length < MAX_ISSUED) return;
  const oldest = Math.min(...recent.map(({ issuedAt }) => issuedAt));
  throw new GatewayError(
    'RATE_LIMITED',
    'this device has got too many certificates lately; look at its clock and its renewal rule',
    { retryAfter: Math.max(1, Math.ceil((oldest + window - now) / 1000)), subject: { deviceId } },
  );
}
