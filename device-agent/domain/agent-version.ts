/** Told to the gateway in every state report. */
export const AGENT_VERSION = '0.1.0';

/** No clock that shows less than this can be right: the year this version was made (milliseconds UTC). */
export const EARLIEST_PLAUSIBLE_TIME = Date.UTC(2026, 0, 1);
