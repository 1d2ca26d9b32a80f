import type { SerialNumber } from '#ca/pkix/serial-number.ts';

/**
 * Serials revoked and not yet expired, in memory: the check that needs no database, made after a session is
 * registered, so that a revocation between the look-up and the registration is not missed.
 */
export class DenySet {
  readonly #serials = new Set<SerialNumber>();

  add(serials: Iterable<SerialNumber>): void {
    for (const serial of serials) this.#serials.add(serial);
  }

  has(serial: SerialNumber): boolean {
    return this.#serials.has(serial);
  }

  remove(serials: Iterable<SerialNumber>): void {
    for (const serial of serials) this.#serials.delete(serial);
  }

  get size(): number {
    return this.#serials.size;
  }
}
