import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { type CsrBinding, verifyChannelBinding } from '#gateway/domain/channel-binding.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';

const exported = new WeakSet<Socket>();

/**
 * Whether the CSR is made for this connection.
 * @param der PKCS#10
 * @param isRegistrar whether a registrar passes it on: its device may have bound it to their session, of which nothing
 *   is known here (RFC 7030 3.7). That proves nothing, and is no reason to refuse.
 * @throws GatewayError CSR_BINDING_INVALID
 */
export function channelBindingOf(der: Buffer, socket: Socket, isRegistrar: () => boolean): CsrBinding {
  const binding = verify(der, socket, isRegistrar);
  if (binding === 'verified' && socket instanceof TLSSocket && socket.getProtocol() === 'TLSv1.3') {
    if (exported.has(socket)) {
      throw new GatewayError(
        'CSR_BINDING_INVALID',
        'one bound CSR was sent over this connection already (RFC 9266 4.1)',
      );
    }
    exported.add(socket);
  }
  return binding;
}

/** RFC 9266 4.1: where tls-exporter was used once, the connection ends after the answer. */
export function hasUsedExporter(socket: Socket): boolean {
  return exported.has(socket);
}

function verify(der: Buffer, socket: Socket, isRegistrar: () => boolean): CsrBinding {
  try {
    return verifyChannelBinding(der, socket instanceof TLSSocket ? socket : undefined);
  } catch (error) {
    const isOfAnother = error instanceof GatewayError && error.code === 'CSR_BINDING_INVALID';
    if (isOfAnother && isRegistrar()) return 'none';
    throw error;
  }
}
