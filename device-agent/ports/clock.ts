export interface Clock {
  /** Wall clock, milliseconds UTC. May be wrong, and may jump. */
  now(): number;
  /** Milliseconds since some moment; never jumps. */
  monotonic(): number;
  /** Resolves after `ms`, or as soon as the signal is aborted. Any length, also beyond what one timer can hold. */
  wait(ms: number, signal?: AbortSignal): Promise<void>;
}
