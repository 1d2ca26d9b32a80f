import type { TLSSocket } from 'node:tls';
import type { GatewayTrust, TlsIdentity } from '#device-agent/ports/est-client.ts';

/** How this adapter gets its connections: a verified TLS socket, or an AgentError. */
export type DialGateway = (
  target: {
    address: { host: string; port: number };
    trust: GatewayTrust | 'unverified';
    identity?: TlsIdentity;
    protocol: string;
    timeoutMs: number;
  },
  signal?: AbortSignal,
) => Promise<TLSSocket>;
