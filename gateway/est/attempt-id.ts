import type { Randomness } from '#gateway/ports/randomness.ts';

const ATTEMPT_ID = /^a-[0-9a-f]{16}$/;

/** The agent names its attempt, so that its own output and our log agree even when no answer arrives; others get one. */
export function attemptIdOf(header: string | string[] | undefined, randomness: Pick<Randomness, 'id'>): string {
  return typeof header === 'string' && ATTEMPT_ID.test(header) ? header : randomness.id('a');
}
