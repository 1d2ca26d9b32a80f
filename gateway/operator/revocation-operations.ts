import type { RevocationReason } from '#ca/revocation/reasons.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import type {
  Page,
  RevocationJobItemState,
  RevocationJobState,
  RevocationScope,
} from '#gateway/contract/operator-api.ts';
import type {
  DeviceHeld,
  DeviceReleased,
  RevocationJobDetail,
  RevocationJobItemDetail,
  RevocationPlanned,
} from '#gateway/contract/revocation-api.ts';

type PageQuery = { limit: number; after?: string };
type Steering = { id: string; actor: string };

/** Revoking in every scope, bound to its dependencies. rate: certificates per second. */
export type RevocationOperations = {
  orderRevocation(order: {
    scope: RevocationScope;
    target: string;
    reason: RevocationReason;
    rate?: number;
    actor: string;
  }): Promise<RevocationJobDetail>;
  planRevocation(target: { scope: RevocationScope; target: string }): Promise<RevocationPlanned>;
  listRevocations(query: PageQuery & { state?: RevocationJobState }): Promise<Page<RevocationJobDetail>>;
  showRevocation(id: string): Promise<RevocationJobDetail>;
  listRevocationItems(
    query: PageQuery & { id: string; state?: RevocationJobItemState },
  ): Promise<Page<RevocationJobItemDetail>>;
  pauseRevocation(order: Steering): Promise<RevocationJobDetail>;
  resumeRevocation(order: Steering & { rate?: number }): Promise<RevocationJobDetail>;
  cancelRevocation(order: Steering): Promise<RevocationJobDetail>;
  holdDevice(order: { deviceId: DeviceId; why: string; actor: string; requestedAt: number }): Promise<DeviceHeld>;
  releaseDevice(order: { deviceId: DeviceId; actor: string }): Promise<DeviceReleased>;
};
