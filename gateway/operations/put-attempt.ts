import type { Attempt } from '#gateway/domain/attempt.ts';
import type { Randomness } from '#gateway/ports/randomness.ts';
import type { Tables } from '#gateway/ports/store.ts';

/** Clients name their attempts: nobody takes the place of another device's. Inside the caller's transaction. */
export async function putAttempt(
  { attempts }: Pick<Tables, 'attempts'>,
  random: Randomness,
  attempt: Attempt,
): Promise<void> {
  const { id, deviceId, address } = attempt;
  const before = await attempts.find(id);
  const isSame = before?.deviceId === deviceId || (before?.deviceId === null && before.address === address);
  const isForeign = before !== undefined && !isSame;
  await attempts.put(isForeign ? { ...attempt, id: random.id('a') } : attempt);
}
