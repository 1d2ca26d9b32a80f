import { parseCertificate } from '#ca/pkix/certificate.ts';
import { parseCompactJws, verifyCompactJws } from '#ca/pkix/compact-jws.ts';
import { OID } from '#ca/pkix/oids.ts';
import { validatePath } from '#ca/pkix/path.ts';
import { parseTimeStatement, TIME_JWS_TYPE } from '#gateway/contract/signed-time.ts';
import { AgentError } from './agent-error.ts';

/** Milliseconds UTC. `signedUntil`: notAfter of the signer's certificate. */
export type SignedTime = { time: number; signedUntil: number };

/**
 * The gateway's time out of its compact JWS, made for this nonce. No clock is needed to judge it: the signer's chain has
 * to be valid at the very time that it states, and the nonce says that it was stated just now (RFC 8995 2.6.1).
 * @throws AgentError TIME_REFUSED
 */
export function readSignedTime(text: string, trust: { anchors: Buffer[]; nonce: string }): SignedTime {
  try {
    const jws = parseCompactJws(text);
    // RFC 8725 3.11: a token the same key made for another purpose is no statement of time.
    if (jws.header.typ !== TIME_JWS_TYPE) throw new Error('it is not typed as one');
    const statement = parseTimeStatement(jws.payload);
    if (!statement) throw new Error('this version does not understand it');
    if (statement.nonce !== trust.nonce) throw new Error('it answers another question');
    const [leaf, ...issuers] = jws.header.x5c.map((der) => parseCertificate(der));
    if (!leaf) throw new Error('it names no signer');
    validatePath(leaf, {
      intermediates: issuers,
      anchors: trust.anchors.map((der) => parseCertificate(der)),
      extendedKeyUsage: OID.gatehouseNoticeSigner,
      at: statement.time,
    });
    if (!verifyCompactJws(jws, leaf.publicKey)) throw new Error('its signature is wrong');
    return { time: statement.time, signedUntil: leaf.notAfter };
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new AgentError('TIME_REFUSED', `the time that the gateway has signed was refused: ${why}`, { cause });
  }
}
