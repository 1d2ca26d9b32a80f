import type { Socket } from 'node:net';
import { networkOf } from '#gateway/domain/network-of.ts';
import type { EstLimits } from './est-deps.ts';

export type ConnectionLimits = Pick<EstLimits, 'connections' | 'connectionsPerAddress'>;

/** Sockets in any state, in all and of each address: bounds memory, and what one address may take of it. */
export class OpenConnections {
  readonly #limits: ConnectionLimits;
  readonly #ofNetwork = new Map<string, number>();
  #all = 0;

  constructor(limits: ConnectionLimits) {
    this.#limits = limits;
  }

  /** Counts it until it closes. @returns false when it is one too many, and is to be closed. */
  add(socket: Socket): boolean {
    const network = networkOf(socket.remoteAddress ?? '');
    const count = (this.#ofNetwork.get(network) ?? 0) + 1;
    this.#ofNetwork.set(network, count);
    this.#all += 1;
    socket.once('close', () => this.#forget(network));
    return this.#all <= this.#limits.connections && count <= this.#limits.connectionsPerAddress;
  }

  /** Whether half of the places are taken, in all or of this address: no more should be held by those who do nothing. */
  isCrowded(address: string): boolean {
    const { connections, connectionsPerAddress } = this.#limits;
    return this.#all > connections / 2 || (this.#ofNetwork.get(networkOf(address)) ?? 0) > connectionsPerAddress / 2;
  }

  #forget(network: string): void {
    this.#all -= 1;
    const left = (this.#ofNetwork.get(network) ?? 1) - 1;
    if (left > 0) this.#ofNetwork.set(network, left);
    else this.#ofNetwork.delete(network);
  }
}
