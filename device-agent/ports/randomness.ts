export interface Randomness {
  /** 0 <= fraction < 1, for spreading load; not for secrets. */
  fraction(): number;
  bytes(count: number): Buffer;
}
