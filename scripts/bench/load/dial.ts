import { connect, type SecureContext, type TLSSocket } from 'node:tls';
import type { Target } from '#scripts/bench/load-jobs.ts';
import { ConnectionLost } from './connection-lost.ts';

const DIAL_MS = 15_000;

/** A TLS 1.3 connection, full handshake. The chain is verified by OpenSSL as any client does; the name is not. */
export function dial(target: Target, secureContext: SecureContext, protocol: string): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connect({
      host: target.host,
      port: target.port,
      secureContext,
      ALPNProtocols: [protocol],
      checkServerIdentity: () => undefined,
    });
    const timer = setTimeout(() => socket.destroy(new ConnectionLost('no TLS connection in time')), DIAL_MS);
    socket.setNoDelay(true);
    const onError = (error: NodeJS.ErrnoException) =>
      reject(error.code === 'ECONNRESET' ? new ConnectionLost('reset', { cause: error }) : error);
    socket.once('error', onError);
    socket.once('close', () => reject(new ConnectionLost('closed during the TLS handshake')));
    socket.once('secureConnect', () => {
      clearTimeout(timer);
      socket.off('error', onError);
      socket.on('error', () => {});
      resolve(socket);
    });
  });
}

/** Ends politely; resolves when the other side has ended too, so that its work is done. */
export function hangUp(socket: TLSSocket): Promise<void> {
  return new Promise((resolve) => {
    socket.once('close', () => resolve());
    socket.resume();
    socket.end();
    if (socket.destroyed) resolve();
  });
}
