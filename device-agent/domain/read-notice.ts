import { parseCertificate } from '#ca/pkix/certificate.ts';
import { parseCompactJws, verifyCompactJws } from '#ca/pkix/compact-jws.ts';
import { OID } from '#ca/pkix/oids.ts';
import { validatePath } from '#ca/pkix/path.ts';
import { NOTICE_JWS_TYPE, type Notice, parseNotice } from '#gateway/contract/notice.ts';
import { AgentError } from './agent-error.ts';

/** `signedUntil`: notAfter of the signer's certificate, milliseconds UTC. */
export type SignedNotice = { notice: Notice; signedUntil: number };

/**
 * A notice out of its compact JWS (RFC 7515): signed by a certificate that chains to a pinned anchor and may sign
 * notices and nothing else.
 * @param at milliseconds UTC for the dates of the signer's chain; undefined when no clock can be trusted (RFC 8995 2.6.1).
 * @throws AgentError NOTICE_REFUSED
 */
export function readNotice(text: string, trust: { anchors: Buffer[]; at: number | undefined }): SignedNotice {
  try {
    const jws = parseCompactJws(text);
    // RFC 8725 3.11: a token the same key made for another purpose is not a notice.
    if (jws.header.typ !== NOTICE_JWS_TYPE) throw new Error('it is not typed as a notice');
    const [leaf, ...issuers] = jws.header.x5c.map((der) => parseCertificate(der));
    if (!leaf) throw new Error('it names no signer');
    const notice = parseNotice(jws.payload);
    if (!notice) throw new Error('this version does not understand it');
    // One that tells the time is not judged by the clock that it may correct, but by what it tells.
    const at = notice.kind === 'time' ? notice.body.time : trust.at;
    validatePath(leaf, {
      intermediates: issuers,
      anchors: trust.anchors.map((der) => parseCertificate(der)),
      extendedKeyUsage: OID.gatehouseNoticeSigner,
      // Room for the links between roots: an anchor may be two roots old.
      maxCertificates: 6,
      ...(at === undefined ? {} : { at }),
    });
    if (!verifyCompactJws(jws, leaf.publicKey)) throw new Error('its signature is wrong');
    return { notice, signedUntil: leaf.notAfter };
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new AgentError('NOTICE_REFUSED', `a notice was refused: ${why}`, { cause });
  }
}
