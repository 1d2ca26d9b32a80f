import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { verifyChannelBinding } from '#gateway/domain/channel-binding.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';

const exported = new WeakSet<Socket>();

/** Whether a CSR is made for this connection. @throws GatewayError CSR_BINDING_INVALID */
export function verifyBindingTo(socket: Socket, challengePassword: string): void {
  verifyChannelBinding(challengePassword, socket instanceof TLSSocket ? socket : undefined);
  if (!(socket instanceof TLSSocket) || socket.getProtocol() !== 'TLSv1.3') return;
  if (exported.has(socket)) {
    throw new GatewayError('CSR_BINDING_INVALID', 'one bound CSR was sent over this connection already (RFC 9266 4.1)');
  }
  exported.add(socket);
}

/** RFC 9266 4.1: where tls-exporter was used once, the connection ends after the answer. */
export function hasUsedExporter(socket: Socket): boolean {
  return exported.has(socket);
}
