import type { SerialNumber } from '#ca/pkix/serial-number.ts';

/**
 * Serials that may not come in any more although their dates would allow it, in memory: the check that needs no
 * database, made after a session is registered, so that what was decided between the look-up and the registration is
 * not missed. Each stays until its certificate has expired.
 */
export class DenySet {
  readonly #until = new Map<SerialNumber, number>();

  /** @param until milliseconds UTC, at or after the end of these certificates */
  add(serials: Iterable<SerialNumber>, until: number): void {
    for (const serial of serials) this.#until.set(serial, until);
  }

  /** Those released from a hold; any other stays until it has expired. */
  remove(serials: Iterable<SerialNumber>): void {
    for (const serial of serials) this.#until.delete(serial);
  }

  has(serial: SerialNumber): boolean {
    return this.#until.has(serial);
  }

  /** Forgets those whose certificate has expired. */
  prune(now: number): void {
    for (const [serial, until] of this.#until) {
      if (until < now) this.#until.delete(serial);
    }
  }

  get size(): number {
    return this.#until.size;
  }
}

/** Longer than any device certificate lives: for serials whose end is not at hand. */
export const LONGEST_LIFE_MS = 400 * 24 * 3600 * 1000;
