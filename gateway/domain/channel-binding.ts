import { GatewayError } from './gateway-error.ts';

/** What has to be known of a TLS session, as its server sees it: the members of Node's TLSSocket with these names. */
export type BoundSession = {
  getProtocol(): string | null;
  exportKeyingMaterial(length: number, label: string, context: Buffer): Buffer;
  isSessionReused(): boolean;
  getFinished(): Buffer | undefined;
  getPeerFinished(): Buffer | undefined;
};

/** Whether a CSR is proved to be made for the TLS session it came in. */
export type CsrBinding = 'verified' | 'none';

/** Judges the challengePassword of a CSR by the session it came over. @throws GatewayError CSR_BINDING_INVALID */
export type VerifyBinding = (challengePassword: string) => void;

/**
 * A CSR with a challengePassword claims to be made for this TLS session: the password is the base64 of the session's
 * channel binding, and it must match (RFC 7030 3.5). A CSR without one claims nothing.
 * @param session undefined when the request did not come over TLS
 * @throws GatewayError CSR_BINDING_INVALID
 */
export function verifyChannelBinding(challengePassword: string, session: BoundSession | undefined): void {
  const binding = session === undefined ? undefined : channelBindingOf(session);
  if (binding === undefined) {
    throw new GatewayError(
      'CSR_BINDING_INVALID',
      'the CSR has a challengePassword, and this TLS session has no channel binding to compare it with (RFC 7030 3.5)',
    );
  }
  if (decodeBase64(challengePassword)?.equals(binding.value) === true) return;
  throw new GatewayError(
    'CSR_BINDING_INVALID',
    `the challengePassword of the CSR is not the ${binding.type} value of this TLS session in base64 (RFC 7030 3.5)`,
  );
}

type ChannelBinding = { type: 'tls-unique' | 'tls-exporter'; value: Buffer };

/** As the server of the session sees it. @returns undefined when the session has none (any more) */
function channelBindingOf(session: BoundSession): ChannelBinding | undefined {
  const protocol = session.getProtocol();
  if (protocol === 'TLSv1.3') {
    // RFC 9266 2; TLS 1.3 has no tls-unique (RFC 8446 C.5).
    const value = session.exportKeyingMaterial(32, 'EXPORTER-Channel-Binding', Buffer.alloc(0));
    return { type: 'tls-exporter', value };
  }
  if (protocol !== 'TLSv1.2') return undefined;
  // RFC 5929 3.1: the first Finished message: the client's of a full handshake, the server's of a resumed one.
  const value = session.isSessionReused() ? session.getFinished() : session.getPeerFinished();
  return value === undefined ? undefined : { type: 'tls-unique', value };
}

/** Line ends are borne: some clients encode with them. @returns undefined when it is not base64 */
function decodeBase64(text: string): Buffer | undefined {
  const compact = text.replace(/[\r\n]+/g, '');
  return /^[A-Za-z0-9+/]+={0,2}$/.test(compact) ? Buffer.from(compact, 'base64') : undefined;
}
