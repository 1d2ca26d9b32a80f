import { DEFAULT_GROUP } from '#gateway/domain/group.ts';
import type { CaTrustBook } from '#gateway/operations/ca-trust-book.ts';
import { type ChallengeDeps, createTpmChallenge } from '#gateway/operations/create-tpm-challenge.ts';
import { type DetectDeps, watchRefusals } from '#gateway/operations/detect-clones.ts';
import { type EnrollDeps, enrollDevice } from '#gateway/operations/enroll-device.ts';
import { enrollWithServerKey } from '#gateway/operations/enroll-with-server-key.ts';
import { type DoorRefusalDeps, recordDoorRefusal } from '#gateway/operations/record-door-refusal.ts';
import { reenrollDevice } from '#gateway/operations/reenroll-device.ts';
import { showRenewalInfo } from '#gateway/operations/show-renewal-info.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { Store } from '#gateway/ports/store.ts';
import type { TimeSigner } from '#gateway/ports/time-signer.ts';
import type { EstDeps } from './est/est-deps.ts';
import { estAuthority } from './follow-ca-trust.ts';

type Deps = EnrollDeps &
  DetectDeps &
  ChallengeDeps &
  DoorRefusalDeps &
  Parameters<typeof showRenewalInfo>[0] & {
    store: Store;
    clock: Clock;
    trustBook: Pick<CaTrustBook, 'trust'>;
    signer: TimeSigner;
  };

export function bindEstOperations(deps: Deps) {
  const { store, clock, trustBook, signer } = deps;
  return {
    enrollDevice: (request) => enrollDevice(deps, request),
    reenrollDevice: (request) => watchRefusals(deps, request.address, () => reenrollDevice(deps, request)),
    enrollWithServerKey: (request) => enrollWithServerKey(deps, request),
    createTpmChallenge: (order) => createTpmChallenge(deps, { ...order, door: 'est' }),
    recordRefusal: ({ credentials: shown, ...refused }) =>
      void recordDoorRefusal(deps, { ...refused, door: 'est', shown }),
    showRenewalInfo: (name) => showRenewalInfo(deps, name),
    findPolicy: async (label) => (await store.read.groups.find(label ?? DEFAULT_GROUP))?.policy,
    describeAuthority: () => estAuthority(trustBook.trust),
    signTime: (nonce) => signer.signTime({ version: 1, nonce, time: clock.now() }),
  } satisfies Partial<EstDeps>;
}
