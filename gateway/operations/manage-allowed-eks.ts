import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { AllowedEkSummary, EksAllowed, Page } from '#gateway/contract/operator-api.ts';
import type { AllowedEk } from '#gateway/domain/attestation/trusted-tpm.ts';
import { auditEntry } from '#gateway/domain/audit-entry.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { Store } from '#gateway/ports/store.ts';
import { page } from './list-devices.ts';

export type AllowedEkDeps = { store: Store; clock: Clock };

export type AllowedEkOrder = { ekSha256: string; deviceId?: DeviceId; note?: string };

/** All of them or none. Asked again it changes nothing, so a long list may be sent again after an interruption. */
export async function allowEks(
  deps: AllowedEkDeps,
  order: { entries: AllowedEkOrder[]; actor: string },
): Promise<EksAllowed> {
  const now = deps.clock.now();
  return deps.store.write(async (tables) => {
    const items: EksAllowed['items'] = [];
    for (const { ekSha256, deviceId, note } of order.entries) {
      const before = await tables.ekAllowList.find(ekSha256);
      const allowed: AllowedEk = { ekSha256, deviceId: deviceId ?? null, note: note ?? null, addedAt: now };
      const isNew = await tables.ekAllowList.put(allowed);
      items.push({ ekSha256, outcome: !isNew ? 'unchanged' : before === undefined ? 'added' : 'changed' });
      if (!isNew) continue;
      await tables.audit.append(
        auditEntry({
          at: now,
          actor: order.actor,
          action: 'ek.allowed',
          subject: deviceId ?? `ek ${ekSha256}`,
          detail: `EK ${ekSha256}${deviceId === undefined ? ', for any device' : ''}`,
        }),
      );
    }
    return { items };
  });
}

export async function listAllowedEks(
  deps: Pick<AllowedEkDeps, 'store'>,
  query: { after?: string | undefined; limit: number },
): Promise<Page<AllowedEkSummary>> {
  return page(await deps.store.read.ekAllowList.list(query), query.limit, (item) => item.ekSha256);
}

/** Certificates that stand keep standing; at its next renewal the device is judged without it. @throws GatewayError NOT_FOUND */
export async function removeAllowedEk(
  deps: AllowedEkDeps,
  order: { ekSha256: string; actor: string },
): Promise<AllowedEkSummary> {
  return deps.store.write(async (tables) => {
    const allowed = await tables.ekAllowList.find(order.ekSha256);
    if (allowed === undefined) throw new GatewayError('NOT_FOUND', 'this endorsement key is not on the allow list');
    await tables.ekAllowList.remove(allowed.ekSha256);
    await tables.audit.append(
      auditEntry({
        at: deps.clock.now(),
        actor: order.actor,
        action: 'ek.disallowed',
        subject: allowed.deviceId ?? `ek ${allowed.ekSha256}`,
        detail: `EK ${allowed.ekSha256}`,
      }),
    );
    return allowed;
  });
}
