import { createServer, type Server } from 'node:https';
import type { Socket } from 'node:net';
import type { TlsOptions } from 'node:tls';
import { ATTEMPT_HEADER } from '#gateway/contract/est.ts';
import type { EstDeps, EstLimits } from './est-deps.ts';
import type { HandshakeGate } from './handshake-gate.ts';
import { formatIssuerNames } from './issuer-names.ts';
import type { OpenConnections } from './open-connections.ts';

export type EstServer = Server;

/** Enough for a Basic header and a proxy's additions; one header block is buffered whole. */
const MAX_HEADER_BYTES = 16 * 1024;

/** How a connection begins: nothing is read before the gate lets the handshake begin. */
export const ACCEPTED = { pauseOnConnect: true, noDelay: true };

/** What a broken HTTP request is told before the connection closes, by llhttp's or Node's error code. */
const CLIENT_ERRORS = new Map([
  ['HPE_HEADER_OVERFLOW', { status: '431 Request Header Fields Too Large', what: 'the header lines are too long' }],
  ['ERR_HTTP_REQUEST_TIMEOUT', { status: '408 Request Timeout', what: 'the request did not arrive in time' }],
]);

/**
 * The HTTPS server under the EST routes: asks for a client certificate, but lets the handshake finish without one and
 * with any (RFC 7030 4.1.2), since who may do what is judged per request; bounds time and memory of every connection.
 */
export function createEstServer(
  deps: Pick<EstDeps, 'log' | 'randomness'>,
  tls: TlsOptions,
  { limits, open }: { limits: EstLimits; open: OpenConnections },
): Server {
  const server = createServer({
    ...tls,
    handshakeTimeout: limits.handshakeTimeout,
    maxHeaderSize: MAX_HEADER_BYTES,
    headersTimeout: limits.headersTimeout,
    requestTimeout: limits.requestTimeout,
    keepAliveTimeout: limits.keepAliveTimeout,
    ...ACCEPTED,
    // How often the two timeouts above are looked at; a quarter keeps them honest when tests make them short.
    connectionsCheckingInterval: Math.max(50, Math.min(limits.headersTimeout / 4, 2_000)),
    // Both are refused with words by the routes; Node by itself would answer with an empty body.
    requireHostHeader: false,
  });
  server.maxHeadersCount = 64;

  server.on('checkExpectation', (request, response) => server.emit('request', request, response));

  server.prependListener('connection', (socket: Socket) => {
    const address = socket.remoteAddress;
    if (open.add(socket)) return;
    deps.log.debug('est connection refused: too many are open', { address });
    socket.destroy();
  });

  // Asked for once, the address is remembered by the socket: a client that resets the connection later is still known.
  server.prependListener('secureConnection', (socket: Socket) => {
    if (socket.remoteAddress === undefined) socket.destroy();
    else closeAfterEnd(socket);
  });
  // The backstop for a socket that is neither read nor written any more: later than the 408 for a slow request, and
  // operations give up long before.
  server.setTimeout(2 * limits.requestTimeout);

  // Node tells of a handshake that timed out but leaves the socket open.
  server.on('tlsClientError', (error: Error, socket: Socket) => {
    deps.log.debug('est handshake failed', { address: socket.remoteAddress, reason: codeOf(error) });
    socket.destroy();
  });

  server.on('clientError', (error: Error, socket: Socket) => {
    const code = codeOf(error);
    const known = CLIENT_ERRORS.get(code);
    if (!socket.writable || socket.destroyed || (known === undefined && !code.startsWith('HPE_'))) {
      deps.log.debug('est connection failed', { address: socket.remoteAddress, reason: code });
      socket.destroy();
      return;
    }
    const { status, what } = known ?? { status: '400 Bad Request', what: 'this is not an HTTP request' };
    const attemptId = deps.randomness.id('a');
    const body = `REQUEST_INVALID: ${what}. See RFC 7030 for what this door takes. (attempt ${attemptId})\n`;
    deps.log.debug('est request unreadable', { attemptId, address: socket.remoteAddress, reason: code });
    socket.end(
      `HTTP/1.1 ${status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: ${body.length}\r\n` +
        `${ATTEMPT_HEADER}: ${attemptId}\r\nConnection: close\r\n\r\n${body}`,
      () => socket.destroy(),
    );
  });
  return server;
}

/** Milliseconds for what was written before the client ended. */
const DRAIN_TIME = 1_000;

/**
 * Node 24 leaves a TLS socket open for ever when an answer is written to a client that has just reset the connection:
 * 'end' comes, but no error and no 'close'. Whoever did that again and again would take all places.
 */
function closeAfterEnd(socket: Socket): void {
  socket.once('end', () => {
    const cut = setTimeout(() => socket.destroy(), DRAIN_TIME).unref();
    socket.once('close', () => clearTimeout(cut));
  });
}

/**
 * Has a gate decide when the handshake of a connection begins.
 * @throws Error when this Node begins handshakes in another way: better not to start than to go without the gate.
 */
export function putBeforeHandshake(
  server: Server,
  gateFor: (start: (socket: Socket) => void) => HandshakeGate,
): HandshakeGate {
  const begin = server.listeners('connection').at(-1);
  if (begin?.name !== 'tlsConnectionListener') {
    throw new Error(`Node ${process.version} is not one this gateway was tested with; run "npm ci"`);
  }
  server.off('connection', begin as (socket: Socket) => void);
  const gate = gateFor((socket) => begin.call(server, socket));
  server.on('connection', (socket: Socket) => {
    socket.on('error', () => {});
    if (!socket.destroyed) gate.arrive(socket);
  });
  server.on('secureConnection', (socket) => gate.secured(socket));
  return gate;
}

/**
 * The part of the options that belongs to this door and must survive a reload.
 * @param manufacturers DER: told to clients by name, and trusted by nobody here
 */
export function estTlsOptions(tls: TlsOptions, manufacturers: readonly Uint8Array[] = []): TlsOptions {
  const own = tls.ca === undefined ? [] : [tls.ca].flat();
  return {
    ...tls,
    ca: [...own, ...formatIssuerNames(manufacturers)],
    requestCert: true,
    rejectUnauthorized: false,
    ALPNProtocols: ['http/1.1'],
  };
}

function codeOf(error: Error): string {
  return 'code' in error ? String(error.code) : error.name;
}
