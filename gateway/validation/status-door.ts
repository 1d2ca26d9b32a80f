import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buildStatusApp, type StatusState } from './status-app.ts';
import type { StatusDeps, StatusOptions, StatusSources } from './status-deps.ts';

export type StatusDoor = {
  address: { host: string; port: number };
  /** From now on CRL, certificates and readiness are answered from here; until then with 503. */
  setReady(sources: StatusSources): void;
  close(): Promise<void>;
};

const STALLED_MS = 30_000;
const LIMITS = { connections: 1024, headersTimeout: 5_000, requestTimeout: 10_000, keepAliveTimeout: 10_000 };

/**
 * CRL and CA certificates for anybody (RFC 5280 4.2.1.13, RFC 2585), metrics and health for those who watch. Plain
 * HTTP on purpose: what it serves is signed, and fetching a CRL over TLS would need the CRL (RFC 5280 8).
 * It starts first and says "starting" until the rest is there.
 */
export async function startStatusDoor(deps: StatusDeps, options: StatusOptions): Promise<StatusDoor> {
  const state: StatusState = { sources: undefined };
  const { connections, ...timeouts } = LIMITS;
  const server = createServer({ ...timeouts, connectionsCheckingInterval: 1_000, maxHeaderSize: 8 * 1024 });
  server.maxConnections = connections;
  // Whoever stops reading in the middle of a long list does not hold it for ever.
  server.timeout = STALLED_MS;
  options.keepOrder(server);
  const app = buildStatusApp(deps, options, state, server);
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
    setReady: (sources) => {
      state.sources = sources;
    },
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      const cut = setTimeout(() => server.closeAllConnections(), 1_000);
      await closed;
      clearTimeout(cut);
      await app.close();
    },
  };
}
