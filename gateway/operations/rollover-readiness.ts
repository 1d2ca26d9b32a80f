import type { DeviceNotReady } from '#gateway/contract/ca-rollover-api.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { Page } from '#gateway/contract/operator-api.ts';
import type { CaTrust } from '#gateway/domain/ca-trust.ts';
import { type DeviceTrust, lacksOf } from '#gateway/domain/device-trust.ts';
import type { Broker } from '#gateway/ports/broker.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { Store } from '#gateway/ports/store.ts';

export type ReadinessDeps = { store: Pick<Store, 'read'>; clock: Clock };

export type Readiness = { devices: number; ready: number; withAnchors: number; withCertificate: number };

/** Between pages the doors have their turn. */
const PAGE = 500;

/**
 * Who could do without the older CAs. Looks at every device that has a certificate in use, or may still come with one that
 * has expired (see expired-lane): for people, not for sweeps.
 */
export async function countReady(deps: ReadinessDeps, trust: CaTrust): Promise<Readiness> {
  const counted = { devices: 0, ready: 0, withAnchors: 0, withCertificate: 0 };
  for await (const device of eachDevice(deps)) {
    const lacks = lacksOf(trust, device);
    counted.devices += 1;
    if (lacks.length === 0) counted.ready += 1;
    if (!lacks.includes('anchors')) counted.withAnchors += 1;
    if (!lacks.includes('certificate')) counted.withCertificate += 1;
  }
  return counted;
}

/** By device id. */
export async function listNotReady(
  deps: ReadinessDeps & { broker: Pick<Broker, 'sessionsOf'> },
  trust: CaTrust,
  { after, limit }: { after?: string | undefined; limit: number },
): Promise<Page<DeviceNotReady>> {
  const items: DeviceNotReady[] = [];
  for await (const device of eachDevice(deps, after)) {
    const lacks = lacksOf(trust, device);
    if (lacks.length === 0) continue;
    const { deviceId, group, serial, issuerKeyId, notAfter, trustSeenAt } = device;
    const connected = deps.broker.sessionsOf(deviceId).length > 0;
    items.push({ deviceId, group, connected, lacks, serial, issuerKeyId, notAfter, anchorsSeenAt: trustSeenAt });
    if (items.length === limit) return { items, nextCursor: deviceId };
  }
  return { items, nextCursor: null };
}

async function* eachDevice({ store, clock }: ReadinessDeps, from?: string): AsyncGenerator<DeviceTrust> {
  const now = clock.now();
  const graces = await readGraces(store);
  const endsAfter = now - Math.max(0, ...graces.values());
  let after = from;
  let before: DeviceId | undefined;
  for (;;) {
    const page = await store.read.devices.listTrust({ after, limit: PAGE, endsAfter });
    for (const device of page) {
      const isOver = now >= device.notAfter + (graces.get(device.group) ?? 0);
      if (device.deviceId !== before && !isOver) yield device;
    }
    const last = page.at(-1);
    if (last === undefined) return;
    before = last.deviceId;
    after = last.deviceId;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Milliseconds for which a certificate that has expired may still ask for the next one, by group. */
async function readGraces({ read }: ReadinessDeps['store']): Promise<Map<string, number>> {
  const groups = await read.groups.list();
  return new Map(
    groups.map(({ name, policy }) => [name, policy.graceDecision === 'refuse' ? 0 : policy.graceSeconds * 1000]),
  );
}

/** Rounded down to a tenth: 100 only when all are. Of none, all are. */
export function percentOf(part: number, whole: number): number {
  return whole === 0 ? 100 : Math.floor((part * 1000) / whole) / 10;
}
