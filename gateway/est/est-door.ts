import type { TlsOptions } from 'node:tls';
import { buildEstApp } from './est-app.ts';
import { DEFAULT_EST_LIMITS, type EstDeps, type EstOptions } from './est-deps.ts';
import { ACCEPTED, createEstServer, estTlsOptions, putBeforeHandshake } from './est-server.ts';
import { HandshakeGate } from './handshake-gate.ts';
import { InFlightGate } from './in-flight-gate.ts';
import { listenTogether } from './listeners.ts';
import { OpenConnections } from './open-connections.ts';

export type EstDoor = {
  address: { host: string; port: number };
  /**
   * New key, certificates or makers for new connections; open ones live on. Takes the full options, as at the start;
   * makers left out stay as they are.
   */
  reload(tls: TlsOptions, manufacturers?: readonly Uint8Array[]): void;
  /** Stops accepting, lets running requests finish for a moment, then cuts. */
  close(): Promise<void>;
};

/** Milliseconds for requests that are running when the door closes. */
const CLOSING_TIME = 3_000;

/**
 * EST over HTTPS (RFC 7030, RFC 8951).
 * @throws Error of node:net when the port is taken or the host is not ours.
 */
export async function startEstDoor(deps: EstDeps, options: EstOptions): Promise<EstDoor> {
  const limits = { ...DEFAULT_EST_LIMITS, ...options.limits };
  let { manufacturers = [] } = options;
  const open = new OpenConnections(limits);
  const server = createEstServer(deps, estTlsOptions(options.tls, manufacturers), { limits, open });
  options.keepOrder(server);
  const inFlight = new InFlightGate(limits.inFlight, () => handshakes.finished());
  const handshakes = putBeforeHandshake(
    server,
    (start) => new HandshakeGate(limits, { start, now: () => deps.clock.monotonic(), inWork: () => inFlight.inside }),
  );
  const app = buildEstApp(deps, server, { limits, inFlight, open });
  await app.ready();
  const listening = await listenTogether(server, options, ACCEPTED);
  return {
    address: { host: options.host, port: listening.port },
    reload: (tls, changed = manufacturers) => {
      server.setSecureContext(estTlsOptions(tls, changed));
      manufacturers = changed;
    },
    close: async () => {
      const closed = listening.close();
      handshakes.close();
      const cut = setTimeout(() => server.closeAllConnections(), CLOSING_TIME);
      await closed;
      clearTimeout(cut);
      await app.close();
    },
  };
}
