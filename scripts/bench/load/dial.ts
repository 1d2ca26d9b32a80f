import { connect, type SecureContext, type TLSSocket } from 'node:tls';
import type { Target } from '#scripts/bench/load-jobs.ts';

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
    const timer = setTimeout(() => socket.destroy(new Error('no TLS connection in time')), DIAL_MS);
    socket.setNoDelay(true);
    socket.once('error', reject);
    socket.once('close', () => reject(new Error('closed during the TLS handshake')));
    socket.once('secureConnect', () => {
      clearTimeout(timer);
      socket.off('error', reject);
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
