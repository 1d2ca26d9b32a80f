import type { Store } from '#gateway/ports/store.ts';

/** The CAs of makers that some group trusts, as the doors have loaded them, each once however many groups trust it. */
export class TrustedManufacturers {
  readonly #store: Pick<Store, 'read'>;
  readonly #onChange: () => void;
  #certificates: readonly Buffer[] = [];

  /** @param onChange called when the list has changed and is loaded */
  constructor(store: Pick<Store, 'read'>, onChange: () => void) {
    this.#store = store;
    this.#onChange = onChange;
  }

  /** DER. */
  get certificates(): readonly Buffer[] {
    return this.#certificates;
  }

  async load(): Promise<void> {
    const all = await this.#store.read.manufacturerCas.list();
    this.#certificates = [...new Map(all.map(({ sha256, der }) => [sha256, der])).values()];
  }

  /** To be called after each change of the list. */
  changed = async (): Promise<void> => {
    await this.load();
    this.#onChange();
  };
}
