/** What can be lent: as long as it has CSRs left. */
export type Lendable = { csrs: string[] };

/** Lends kept connections, each to one at a time. Who finds all of them busy waits. */
export class ConnectionPool<Kept extends Lendable> {
  readonly #idle: Kept[];
  readonly #queue: { resolve: (connection: Kept) => void; reject: (error: Error) => void }[] = [];
  #lent = 0;

  constructor(connections: readonly Kept[]) {
    this.#idle = [...connections];
  }

  /** `work` takes a CSR from the connection's, and puts it back when it was not granted. */
  async lend<T>(work: (connection: Kept) => Promise<T>): Promise<T> {
    const connection = this.#idle.shift() ?? (await this.#wait());
    this.#lent += 1;
    try {
      return await work(connection);
    } finally {
      this.#lent -= 1;
      this.#takeBack(connection);
    }
  }

  #wait(): Promise<Kept> {
    if (this.#lent === 0) throw new Error('all CSRs are spent');
    return new Promise((resolve, reject) => this.#queue.push({ resolve, reject }));
  }

  #takeBack(connection: Kept): void {
    if (connection.csrs.length > 0) {
      const next = this.#queue.shift();
      if (next === undefined) this.#idle.push(connection);
      else next.resolve(connection);
    } else if (this.#lent === 0 && this.#idle.length === 0) {
      for (const { reject } of this.#queue.splice(0)) reject(new Error('all CSRs are spent'));
    }
  }
}
