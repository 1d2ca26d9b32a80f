import type { Socket } from 'node:net';

/** Seconds a nonce is good for; as long as an attestation challenge. */
export const NONCE_LIFE_SECONDS = 300;
/** When the client names no length: twice what draft-ietf-lamps-attestation-freshness asks for at least. */
export const DEFAULT_NONCE_BYTES = 32;

type HeldNonce = { nonce: Buffer; until: number };

/**
 * Nonces for attestation, each tied to the TLS session that asked for it: they live and end with its socket, so nobody
 * has to remember them. One per session, the newest; a CSR takes it, whatever becomes of the CSR.
 */
export class SessionNonces {
  readonly #held = new WeakMap<Socket, HeldNonce>();

  /** @param now monotonic milliseconds */
  give(socket: Socket, nonce: Buffer, now: number): void {
    this.#held.set(socket, { nonce, until: now + NONCE_LIFE_SECONDS * 1000 });
  }

  /** @returns the nonce of this session, once. */
  take(socket: Socket, now: number): Buffer | undefined {
    const held = this.#held.get(socket);
    this.#held.delete(socket);
    return held !== undefined && now < held.until ? held.nonce : undefined;
  }
}
