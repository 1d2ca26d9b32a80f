import { Duplex } from 'node:stream';
import { createSecureContext, createServer, type SecureContext, type Server, type TlsOptions } from 'node:tls';

/** Where Node keeps a server's context for the connections to come. */
const CONTEXT = '_sharedCreds';

type Holder = Server & { [CONTEXT]?: SecureContext };

/**
 * Has the server heed `allowPartialTrustChain`, which Node 24 takes for a context on its own but drops from a server's
 * options: new connections use a context made of these. The one that Node made takes no chain that does not end in a
 * root, so should it ever be used instead, every client is refused and none let in.
 * @throws when key and certificate do not fit together; the server goes on as it was.
 */
export function usePartialChain(server: Server, options: TlsOptions & { allowPartialTrustChain: true }): void {
  (server as Holder)[CONTEXT] = createSecureContext(options);
}

/** @throws Error when this Node keeps a server's context elsewhere: better not to start than to refuse everyone. */
export function assertPartialChainUsable(): void {
  const server: Holder = createServer();
  const context = server[CONTEXT];
  let isRead = false;
  Object.defineProperty(server, CONTEXT, {
    get: () => {
      isRead = true;
      return context;
    },
  });
  const connection = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() });
  server.on('tlsClientError', () => {});
  server.emit('connection', connection);
  connection.destroy();
  if (context === undefined || !isRead) {
    throw new Error(`Node ${process.version} is not one this gateway was tested with; run "npm ci"`);
  }
}
