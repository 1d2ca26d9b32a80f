import { type Store, StoreError, type Tables } from '#gateway/ports/store.ts';

/**
 * Where a write breaks: `before` anything is written; `during`, after the work has run but before the commit, so all
 * of it is taken back; `after` the commit, so it is all there but the answer is lost.
 */
type WriteFault = 'before' | 'during' | 'after';

export type FaultyStore = Store & {
  /** The next writes break there, one after the other; then all is well again. */
  failNext(...faults: WriteFault[]): void;
  /** How many writes were asked for, broken ones included. */
  readonly writes: number;
};

/** A real store whose writes can be told to fail. Reads always work. Closing it closes the real one. */
export function faultyStore(store: Store): FaultyStore {
  const faults: WriteFault[] = [];
  let writes = 0;
  const fail = (fault: WriteFault) => new StoreError('UNAVAILABLE', `made to fail ${fault} the write`);
  const write = async <T>(work: (tables: Tables) => Promise<T>): Promise<T> => {
    writes++;
    const fault = faults.shift();
    if (fault === 'before') throw fail(fault);
    const result = await store.write(async (tables) => {
      const value = await work(tables);
      if (fault === 'during') throw fail(fault);
      return value;
    });
    if (fault === 'after') throw fail(fault);
    return result;
  };
  return {
    read: store.read,
    write,
    probe: () => write(({ settings }) => settings.set('store.probe', String(writes))),
    close: () => store.close(),
    failNext: (...next) => void faults.push(...next),
    get writes() {
      return writes;
    },
  };
}
