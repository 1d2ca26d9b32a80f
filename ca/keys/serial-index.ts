import { randomBytes } from 'node:crypto';
import type { SerialNumber } from '#ca/ports/issuance-order.ts';

const FIRST_CAPACITY = 1024;
const WORDS = 4;

/**
 * Serial number to file offset, 24 octets a slot: a million certificates take tens of megabytes, where a Map of strings
 * takes hundreds. Open addressing, at most 3/4 full.
 */
export class SerialIndex {
  /** Serials are chosen by the registration authority: without a secret it could make them collide. */
  readonly #seed = randomBytes(4).readUInt32LE();
  #keys = new Uint32Array(FIRST_CAPACITY * WORDS);
  /** Offset + 1; 0 is an empty slot. */
  #offsets = new Float64Array(FIRST_CAPACITY);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(serial: SerialNumber): number | undefined {
    const offset = this.#offsets[this.#slotOf(wordsOf(serial))] ?? 0;
    return offset === 0 ? undefined : offset - 1;
  }

  set(serial: SerialNumber, offset: number): void {
    if ((this.#size + 1) * 4 > this.#offsets.length * 3) this.#grow();
    const words = wordsOf(serial);
    const slot = this.#slotOf(words);
    if (this.#offsets[slot] === 0) {
      this.#keys.set(words, slot * WORDS);
      this.#size += 1;
    }
    this.#offsets[slot] = offset + 1;
  }

  /** The slot of this key, or the empty one where it belongs. */
  #slotOf(words: ArrayLike<number>): number {
    const mask = this.#offsets.length - 1;
    let mixed = this.#seed;
    for (let i = 0; i < WORDS; i += 1) {
      mixed = Math.imul(mixed ^ (words[i] ?? 0), 0x9e3779b1);
      mixed ^= mixed >>> 15;
    }
    for (let slot = mixed & mask; ; slot = (slot + 1) & mask) {
      if (this.#offsets[slot] === 0 || this.#holds(slot, words)) return slot;
    }
  }

  #holds(slot: number, words: ArrayLike<number>): boolean {
    for (let i = 0; i < WORDS; i += 1) {
      if (this.#keys[slot * WORDS + i] !== words[i]) return false;
    }
    return true;
  }

  #grow(): void {
    const keys = this.#keys;
    const offsets = this.#offsets;
    this.#keys = new Uint32Array(keys.length * 2);
    this.#offsets = new Float64Array(offsets.length * 2);
    for (const [slot, offset] of offsets.entries()) {
      if (offset === 0) continue;
      const words = keys.subarray(slot * WORDS, slot * WORDS + WORDS);
      const target = this.#slotOf(words);
      this.#keys.set(words, target * WORDS);
      this.#offsets[target] = offset;
    }
  }
}

function wordsOf(serial: SerialNumber): number[] {
  return [0, 8, 16, 24].map((at) => Number.parseInt(serial.slice(at, at + 8), 16));
}
