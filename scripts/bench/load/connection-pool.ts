import type { TLSSocket } from 'node:tls';
import type { KeptConnection } from './kept-connections.ts';

/**
 * Lends kept connections, each to one at a time. Who finds all of them busy waits; one that the gateway has ended, because
 * it was idle for long, is opened again.
 */
export class ConnectionPool {
  readonly #dial: (deviceId: string) => Promise<TLSSocket>;
  readonly #idle: KeptConnection[];
  readonly #queue: { resolve: (connection: KeptConnection) => void; reject: (error: Error) => void }[] = [];
  #lent = 0;

  constructor(connections: readonly KeptConnection[], dialAgain: (deviceId: string) => Promise<TLSSocket>) {
    this.#idle = [...connections];
    this.#dial = dialAgain;
  }

  /** `work` takes a CSR from the connection's, and puts it back when it was not granted. */
  async lend<T>(work: (connection: KeptConnection) => Promise<T>): Promise<T> {
    const connection = this.#idle.shift() ?? (await this.#wait());
    this.#lent += 1;
    try {
      if (connection.socket.destroyed) connection.socket = await this.#dial(connection.deviceId);
      return await work(connection);
    } finally {
      this.#lent -= 1;
      this.#takeBack(connection);
    }
  }

  #wait(): Promise<KeptConnection> {
    if (this.#lent === 0) throw new Error('all CSRs are spent');
    return new Promise((resolve, reject) => this.#queue.push({ resolve, reject }));
  }

  #takeBack(connection: KeptConnection): void {
    if (connection.csrs.length > 0) {
      const next = this.#queue.shift();
      if (next === undefined) this.#idle.push(connection);
      else next.resolve(connection);
    } else if (this.#lent === 0 && this.#idle.length === 0) {
      for (const { reject } of this.#queue.splice(0)) reject(new Error('all CSRs are spent'));
    }
  }
}
