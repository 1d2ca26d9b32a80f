import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { AttemptDetail, AttemptOutcome, Page } from '#gateway/contract/operator-api.ts';
import { ATTEMPT_LIFE_MS, MAX_ATTEMPTS } from '#gateway/domain/attempt.ts';
import { REQUEST_HISTORY_MS } from '#gateway/domain/enrollment-request.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import { NOTICE_HISTORY_MS } from '#gateway/domain/notice-record.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { Store } from '#gateway/ports/store.ts';
import type { BackgroundWrites } from './background-writes.ts';
import { page } from './list-devices.ts';

export type ShowAttemptDeps = { store: Pick<Store, 'read'>; background: Pick<BackgroundWrites, 'flush'> };

/** @throws GatewayError NOT_FOUND */
export async function showAttempt(deps: ShowAttemptDeps, id: string): Promise<AttemptDetail> {
  // The answer to the device may be faster than its record.
  await deps.background.flush();
  const attempt = await deps.store.read.attempts.find(id);
  if (attempt !== undefined) return attempt;
  const why = 'they are kept for 30 days, of strangers and of who asks in a loop only the first; the log may have it';
  throw new GatewayError('NOT_FOUND', `no attempt "${id}" is on record: ${why}`);
}

/** Newest first. */
export async function listAttempts(
  deps: ShowAttemptDeps,
  query: { after?: string | undefined; limit: number; deviceId?: DeviceId; outcome?: AttemptOutcome },
): Promise<Page<AttemptDetail>> {
  await deps.background.flush();
  return page(await deps.store.read.attempts.list(query), query.limit, ({ id }) => id);
}

const BATCH = 500;

/** What is only history goes when it is old, or too much of it: some at a time, so that nobody waits behind it. */
export async function pruneHistory(deps: { store: Store; clock: Clock }): Promise<void> {
  const now = deps.clock.now();
  for (let gone = BATCH; gone >= BATCH; ) {
    gone = await deps.store.write(({ attempts }) => attempts.prune(now - ATTEMPT_LIFE_MS, MAX_ATTEMPTS, BATCH));
  }
  for (let gone = BATCH; gone >= BATCH; ) {
    gone = await deps.store.write(({ enrollmentRequests }) =>
      enrollmentRequests.prune(now - REQUEST_HISTORY_MS, BATCH),
    );
  }
  for (let gone = BATCH; gone >= BATCH; ) {
    gone = await deps.store.write(({ notices }) => notices.prune(now - NOTICE_HISTORY_MS, BATCH));
  }
}
