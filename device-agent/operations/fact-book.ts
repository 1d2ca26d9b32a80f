import { asAgentError } from '#device-agent/domain/agent-error.ts';
import { parseRuntimeFacts, type RuntimeFacts } from '#device-agent/domain/runtime-facts.ts';
import type { Log } from '#device-agent/ports/log.ts';
import type { StateStore } from '#device-agent/ports/state-store.ts';

/** What `status` tells of the past. Writing it may fail without consequence for the identity. */
export class FactBook {
  readonly #store: StateStore;
  readonly #log: Log;
  #facts: RuntimeFacts;
  #writing: Promise<void> = Promise.resolve();

  private constructor(store: StateStore, log: Log, facts: RuntimeFacts) {
    this.#store = store;
    this.#log = log;
    this.#facts = facts;
  }

  static async open({ store, log }: { store: StateStore; log: Log }): Promise<FactBook> {
    return new FactBook(store, log, parseRuntimeFacts(await store.readRecord('status')));
  }

  get facts(): RuntimeFacts {
    return this.#facts;
  }

  /** Replaces the named facts; a fact given as undefined is forgotten. Writes follow each other. */
  update(change: { [Name in keyof RuntimeFacts]?: RuntimeFacts[Name] | undefined }): Promise<void> {
    const merged = { ...this.#facts, ...change };
    this.#facts = parseRuntimeFacts(merged);
    this.#writing = this.#writing.then(() => this.#write());
    return this.#writing;
  }

  noteError(error: unknown, at: number): Promise<void> {
    const { code, message, advice } = asAgentError(error, 'STATE_BROKEN');
    return this.update({ lastError: { code, message, at, ...(advice === undefined ? {} : { advice }) } });
  }

  async #write(): Promise<void> {
    try {
      await this.#store.writeRecord('status', this.#facts);
    } catch (error) {
      this.#log.warn('status could not be written', { error: String(error) });
    }
  }
}
