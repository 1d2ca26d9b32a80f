import { generateKeyPairSync } from 'node:crypto';
import { parseCertificate } from '#ca/pkix/certificate.ts';
import { bitString, explicit, integer, sequence, time } from '#ca/pkix/der.ts';
import { formatPem } from '#ca/pkix/pem.ts';
import { formatSignatureAlgorithm } from '#ca/pkix/signature-algorithm.ts';

/** Each name costs every client some of its handshake. */
const MAX_NAMES = 200;

const ALGORITHM = formatSignatureAlgorithm('ecdsa-sha256');
/**
 * Of a kind that signs nothing, so that OpenSSL never takes one of these for an issuer: it would find the signature
 * wrong, and over TLS 1.2 that error, left behind, would end the connection.
 */
const PUBLIC_KEY = generateKeyPairSync('x25519').publicKey.export({ format: 'der', type: 'spki' });
const NO_SIGNATURE = bitString(sequence(integer(1), integer(1)));

/**
 * For the `ca` option of a server that tells clients the names of these CAs (RFC 8446 4.2.4, RFC 5246 7.4.4), without
 * trusting them: certificates that have a CA's name, nobody's key and no signature. With the real ones there Node finds
 * the client's chain good, and then throws away the intermediates the client has sent (node:tls, onServerSocketSecure),
 * which the operations need to judge it themselves.
 * @param authorities DER
 * @returns PEM
 */
export function formatIssuerNames(authorities: readonly Uint8Array[]): string[] {
  const subjects = new Map(
    authorities.map((der) => {
      const { subject } = parseCertificate(der);
      return [subject.toString('hex'), subject];
    }),
  );
  return [...subjects.values()].slice(0, MAX_NAMES).map((subject) => {
    const validity = sequence(time(0), time(Date.UTC(2049, 0)));
    const tbs = sequence(explicit(0, integer(2)), integer(1), ALGORITHM, subject, validity, subject, PUBLIC_KEY);
    return formatPem('CERTIFICATE', sequence(tbs, ALGORITHM, NO_SIGNATURE));
  });
}
