import type { AttemptDetail } from '#gateway/contract/operator-api.ts';

/** One try to get a certificate, with all that is known of how it went. */
export type Attempt = AttemptDetail;

/** Milliseconds that attempts are kept, and how many at most: the oldest go first. */
export const ATTEMPT_LIFE_MS = 30 * 24 * 3600 * 1000;
export const MAX_ATTEMPTS = 200_000;
