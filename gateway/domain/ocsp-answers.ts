/** Times in milliseconds UTC. */
export type KeptAnswer = {
  der: Buffer;
  etag: string;
  lastModified: number;
  expires: number;
  /** From here on a new one is made instead. */
  renewAt: number;
  /** Whether the certificate was shut out when this was found out: if that has changed, so has the answer. */
  isDenied: boolean;
  /** What it says, for the counters. */
  outcome: string;
};

/** Signed answers kept for the next who asks, a bounded number; those not asked for longest go first. */
export class OcspAnswers {
  readonly #limit: number;
  /** By what was asked, octet for octet; in order of use. */
  readonly #answers = new Map<string, KeptAnswer>();
  /** Answers by serial: one certificate can be asked about with several hashes. */
  readonly #bySerial = new Map<string, Set<string>>();

  constructor(limit: number) {
    this.#limit = limit;
  }

  get size(): number {
    return this.#answers.size;
  }

  find(asked: string): KeptAnswer | undefined {
    const answer = this.#answers.get(asked);
    if (answer === undefined) return undefined;
    this.#answers.delete(asked);
    this.#answers.set(asked, answer);
    return answer;
  }

  put(asked: string, serial: string, answer: KeptAnswer): void {
    this.#answers.delete(asked);
    this.#answers.set(asked, answer);
    const all = this.#bySerial.get(serial);
    if (all === undefined) this.#bySerial.set(serial, new Set([asked]));
    else all.add(asked);
    if (this.#answers.size <= this.#limit) return;
    const [oldest] = this.#answers.keys();
    if (oldest !== undefined) this.#answers.delete(oldest);
    // Serials keep a few dead names until there are as many of them as answers.
    if (this.#bySerial.size > 2 * this.#limit) this.#tidy();
  }

  forget(serial: string): void {
    for (const asked of this.#bySerial.get(serial) ?? []) this.#answers.delete(asked);
    this.#bySerial.delete(serial);
  }

  #tidy(): void {
    for (const [serial, all] of this.#bySerial) {
      for (const asked of all) if (!this.#answers.has(asked)) all.delete(asked);
      if (all.size === 0) this.#bySerial.delete(serial);
    }
  }
}
