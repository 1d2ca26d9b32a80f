import type { RecordName, StateStore, StoredGeneration } from '#device-agent/ports/state-store.ts';

/** State that ends with the process: for fleets of simulated devices, and as the simplest thing that is a StateStore. */
export class MemoryStateStore implements StateStore {
  readonly #records = new Map<RecordName, string>();
  readonly #generations = new Map<number, StoredGeneration>();
  #trust: Buffer[] = [];
  #current: number | undefined;

  async readRecord(name: RecordName): Promise<unknown> {
    const text = this.#records.get(name);
    return text === undefined ? undefined : JSON.parse(text);
  }

  async writeRecord(name: RecordName, value: unknown): Promise<void> {
    this.#records.set(name, JSON.stringify(value));
  }

  async readTrust(): Promise<Buffer[]> {
    return this.#trust;
  }

  async writeTrust(anchors: Buffer[]): Promise<void> {
    this.#trust = [...anchors];
  }

  async listGenerations(): Promise<number[]> {
    return [...this.#generations.keys()].toSorted((a, b) => a - b);
  }

  async readGeneration(number: number): Promise<StoredGeneration | undefined> {
    return this.#generations.get(number);
  }

  async currentGeneration(): Promise<number | undefined> {
    return this.#current;
  }

  async addGeneration(key: string, meta: unknown): Promise<number> {
    const number = Math.max(0, ...this.#generations.keys()) + 1;
    this.#generations.set(number, { number, key, certificates: [], meta: structuredClone(meta) });
    return number;
  }

  async completeGeneration(number: number, certificates: Buffer[], meta: unknown): Promise<void> {
    const generation = this.#generations.get(number);
    if (!generation) throw new RangeError(`there is no generation ${number}`);
    this.#generations.set(number, { ...generation, certificates: [...certificates], meta: structuredClone(meta) });
  }

  async switchTo(number: number): Promise<void> {
    if (!this.#generations.has(number)) throw new RangeError(`there is no generation ${number}`);
    this.#current = number;
  }

  async removeGeneration(number: number): Promise<void> {
    if (number === this.#current) throw new RangeError('the current generation stays');
    this.#generations.delete(number);
  }
}
