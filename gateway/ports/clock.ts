export interface Clock {
  /** Milliseconds UTC. */
  now(): number;
  /** Milliseconds that only rise, for measuring. */
  monotonic(): number;
}
