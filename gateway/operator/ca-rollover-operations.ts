import type { CaRolloverStatus, CaRolloverStep, DeviceNotReady } from '#gateway/contract/ca-rollover-api.ts';
import type { Page } from '#gateway/contract/operator-api.ts';

type Decided = { actor: string; reason?: string };

/** The replacement of CAs, bound to its dependencies. */
export type CaRolloverOperations = {
  showCaRollover(): Promise<CaRolloverStatus>;
  listCaRolloverDevices(query: { limit: number; after?: string }): Promise<Page<DeviceNotReady>>;
  announceCa(order: Decided): Promise<CaRolloverStep>;
  discardCa(order: Decided): Promise<CaRolloverStep>;
  activateCa(order: Decided): Promise<CaRolloverStep>;
  taintCa(
    order: Decided & {
      issuerKeyId?: string;
      withinSeconds?: number;
      perMinute?: number;
      abortPercent: number;
      giveUpSeconds?: number;
    },
  ): Promise<CaRolloverStep>;
  retireCa(order: Decided & { issuerKeyId?: string; force: boolean }): Promise<CaRolloverStep>;
};
