import { createServer, type Server } from 'node:http';
import { createServer as createSecureServer, type Server as SecureServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { TlsOptions } from 'node:tls';
import type { FastifyInstance } from 'fastify';
import { buildOperatorApp, type OperatorDeps } from './operator-app.ts';

const TIMEOUTS = {
  headersTimeout: 10_000,
  requestTimeout: 20_000,
  keepAliveTimeout: 5_000,
  connectionsCheckingInterval: 2_000,
};
const HANDSHAKE_TIMEOUT = 5_000;
const CLOSING_TIME = 3_000;

export type LocalOperatorOptions = {
  /** Listens on the unix socket so that only this user can open it; see gateway/runtime/private-socket.ts. */
  listen(server: Server): Promise<void>;
  /** Stands in the audit as `local:<user>`: who may open the socket is this user, and that is all that is known. */
  user: string;
};

/** The operator API for the `gatehouse` command on the same host: opening the socket is the proof of who asks. */
export async function startLocalOperatorDoor(
  deps: OperatorDeps,
  options: LocalOperatorOptions,
): Promise<{ close(): Promise<void> }> {
  const server = createServer(TIMEOUTS);
  server.maxConnections = 256;
  const app = buildOperatorApp(deps, () => `local:${options.user}`, server);
  await app.ready();
  await options.listen(server);
  return { close: () => closeDoor(server, app) };
}

export type OperatorOptions = {
  host: string;
  /** 0 picks a free one. */
  port: number;
  tls: TlsOptions;
  /** Has the requests of a connection handled one at a time; see gateway/runtime/one-at-a-time.ts. */
  keepOrder: (server: SecureServer) => void;
};

export type OperatorDoor = {
  address: { host: string; port: number };
  reload(tls: TlsOptions): void;
  close(): Promise<void>;
};

/** The operator API over HTTPS. Nobody can sign in yet, so every call is refused; the page and the API document are not. */
export async function startOperatorDoor(deps: OperatorDeps, options: OperatorOptions): Promise<OperatorDoor> {
  const server = createSecureServer({ ...options.tls, ...TIMEOUTS, handshakeTimeout: HANDSHAKE_TIMEOUT });
  server.maxConnections = 256;
  // Node tells of a handshake that timed out but leaves the socket open.
  server.on('tlsClientError', (_error: Error, socket: Socket) => socket.destroy());
  options.keepOrder(server);
  const app = buildOperatorApp(deps, () => undefined, server);
  await app.ready();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host: options.host, port: options.port }, () => {
      server.off('error', reject);
      resolve();
    });
  });
  const { port } = server.address() as AddressInfo;
  return {
    address: { host: options.host, port },
    reload: (tls) => server.setSecureContext(tls),
    close: () => closeDoor(server, app),
  };
}

async function closeDoor(server: Server | SecureServer, app: FastifyInstance): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  const cut = setTimeout(() => server.closeAllConnections(), CLOSING_TIME);
  await closed;
  clearTimeout(cut);
  await app.close();
}
