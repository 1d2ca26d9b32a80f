/** Milliseconds. Retry-After is a MUST of 202 (RFC 7030 4.2.3); a gateway that forgets it is asked once a minute. */
export const DEFAULT_PENDING_MS = 60_000;

/**
 * Milliseconds. Who has to decide may be away for weeks, and whoever waits MUST wait as long as it was told (RFC 7030
 * 4.2.3). The bound is for a slip of the gateway that would silence a device for years.
 */
export const LONGEST_PENDING_MS = 30 * 24 * 3600_000;
