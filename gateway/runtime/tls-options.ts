import { constants, type KeyObject } from 'node:crypto';
import type { TlsOptions } from 'node:tls';
import { formatPem } from '#ca/pkix/pem.ts';

export type TlsMaterial = {
  key: KeyObject;
  /** DER: the gateway's certificate, then the intermediate that issued it. */
  chain: readonly Uint8Array[];
  /** DER: root and intermediate. Node verifies up to a self-signed certificate, so the root must be there. */
  authorities: readonly Uint8Array[];
  minVersion?: 'TLSv1.2' | 'TLSv1.3';
};

/** Forward secrecy and authenticated encryption only; the gateway's own key is ECDSA, so nothing else could be chosen. */
const CIPHERS = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
].join(':');

/**
 * What every TLS door of the gateway has in common, for the start and, whole, for `setSecureContext`, which resets
 * what it is not given. No session tickets: every connection shows its certificate anew, so that nobody comes back on
 * an identity that was revoked in between. No renegotiation: the certificate of a connection does not change under way.
 */
export function serverTlsOptions(material: TlsMaterial): TlsOptions {
  return {
    key: material.key.export({ format: 'pem', type: 'pkcs8' }),
    cert: material.chain.map((der) => formatPem('CERTIFICATE', der)).join(''),
    ca: material.authorities.map((der) => formatPem('CERTIFICATE', der)),
    minVersion: material.minVersion ?? 'TLSv1.2',
    ciphers: CIPHERS,
    honorCipherOrder: true,
    secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
  };
}
