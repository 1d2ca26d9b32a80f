import type { SecureContext, SecureContextOptions } from 'node:tls';
import type { TlsIdentity } from '#device-agent/ports/est-client.ts';

/**
 * Where the dialer gets its TLS contexts when a private key is not simply a PEM: every parse of a key in hardware takes
 * a slot of the hardware, so one context is shared by all connections of an identity.
 */
export interface IdentityContexts {
  /** @throws AgentError when the key cannot be used now. */
  contextFor(identity: TlsIdentity, options: SecureContextOptions): Promise<SecureContext>;
  /** A handshake has failed in a way that may be the key's fault: the context is made anew at the next use. */
  doubt(identity: TlsIdentity, cause: unknown): void;
}
