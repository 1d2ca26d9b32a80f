import { type CertificateRequest, parseCsr } from '#ca/pkix/csr.ts';
import { oid } from '#ca/pkix/der.ts';
import { OID } from '#ca/pkix/oids.ts';
import { PkixError } from '#ca/pkix/pkix-error.ts';
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

/**
 * A CSR with a challengePassword claims to be made for this TLS session: the password is the base64 of the session's
 * channel binding, and it must match (RFC 7030 3.5). A CSR without one claims nothing. One that cannot be read is left
 * to the operation, which says why.
 * @param der PKCS#10
 * @param session undefined when the request did not come over TLS
 * @throws GatewayError CSR_BINDING_INVALID
 */
export function verifyChannelBinding(der: Buffer, session: BoundSession | undefined): CsrBinding {
  const challengePassword = readChallengePassword(der);
  if (challengePassword === undefined) return 'none';
  const binding = session === undefined ? undefined : channelBindingOf(session);
  if (binding === undefined) {
    throw new GatewayError(
      'CSR_BINDING_INVALID',
      'the CSR has a challengePassword, and this TLS session has no channel binding to compare it with (RFC 7030 3.5)',
    );
  }
  if (decodeBase64(challengePassword)?.equals(binding.value) === true) return 'verified';
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

/** As it stands in every CSR that has one: DER writes an object identifier in one way only. */
const CHALLENGE_PASSWORD = oid(OID.challengePassword);

function readChallengePassword(der: Buffer): string | undefined {
  // The operation parses the CSR; here that is done only for the few that may be bound.
  if (!der.includes(CHALLENGE_PASSWORD)) return undefined;
  let request: CertificateRequest;
  try {
    request = parseCsr(der);
  } catch (error) {
    if (error instanceof PkixError) return undefined;
    throw error;
  }
  return request.challengePassword;
}

/** Line ends are borne: some clients encode with them. @returns undefined when it is not base64 */
function decodeBase64(text: string): Buffer | undefined {
  const compact = text.replace(/[\r\n]+/g, '');
  return /^[A-Za-z0-9+/]+={0,2}$/.test(compact) ? Buffer.from(compact, 'base64') : undefined;
}
