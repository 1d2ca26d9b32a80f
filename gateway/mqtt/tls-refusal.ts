/** Why a connection ended before MQTT, in words for the log. */
type TlsRefusalCode =
  | 'TLS_NO_CERTIFICATE'
  | 'TLS_FOREIGN_CERTIFICATE'
  | 'TLS_CERTIFICATE_EXPIRED'
  | 'TLS_CERTIFICATE_NOT_YET_VALID'
  | 'TLS_CERTIFICATE_WRONG_PURPOSE'
  | 'TLS_CERTIFICATE_INVALID'
  | 'TLS_NOT_TLS'
  | 'TLS_NO_COMMON_VERSION'
  | 'TLS_WRONG_PROTOCOL'
  | 'TLS_GATEWAY_NOT_TRUSTED'
  | 'TLS_HANDSHAKE_TIMEOUT'
  | 'TLS_CLIENT_WENT_AWAY'
  | 'TLS_FAILED';

export type TlsRefusal = { code: TlsRefusalCode; detail: string };

/** OpenSSL's verdict on the client's certificate, as `authorizationError` tells it. */
const VERDICTS: Record<string, TlsRefusal> = {
  CERT_HAS_EXPIRED: {
    code: 'TLS_CERTIFICATE_EXPIRED',
    detail: 'the client certificate, or one it depends on, has expired',
  },
  CERT_NOT_YET_VALID: {
    code: 'TLS_CERTIFICATE_NOT_YET_VALID',
    detail: 'the client certificate is not valid yet: check the clocks',
  },
  INVALID_PURPOSE: { code: 'TLS_CERTIFICATE_WRONG_PURPOSE', detail: 'the certificate is not one for TLS clients' },
};
const FOREIGN: TlsRefusal = {
  code: 'TLS_FOREIGN_CERTIFICATE',
  detail: 'the client certificate was issued by somebody else, or its intermediate is missing',
};
for (const verdict of [
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'CERT_SIGNATURE_FAILURE',
  'CERT_UNTRUSTED',
]) {
  VERDICTS[verdict] = FOREIGN;
}

export const NO_CERTIFICATE: TlsRefusal = { code: 'TLS_NO_CERTIFICATE', detail: 'the client showed no certificate' };

const FAILURES: Record<string, TlsRefusal> = {
  ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE: NO_CERTIFICATE,
  ERR_TLS_HANDSHAKE_TIMEOUT: { code: 'TLS_HANDSHAKE_TIMEOUT', detail: 'the TLS handshake was not finished in time' },
  ERR_SSL_NO_APPLICATION_PROTOCOL: {
    code: 'TLS_WRONG_PROTOCOL',
    detail: 'the client asked for another protocol than mqtt (ALPN)',
  },
  ERR_SSL_UNSUPPORTED_PROTOCOL: {
    code: 'TLS_NO_COMMON_VERSION',
    detail: 'the client speaks no TLS version that is allowed here',
  },
  ERR_SSL_VERSION_TOO_LOW: {
    code: 'TLS_NO_COMMON_VERSION',
    detail: 'the client speaks no TLS version that is allowed here',
  },
  ERR_SSL_NO_SHARED_CIPHER: {
    code: 'TLS_NO_COMMON_VERSION',
    detail: 'the client speaks no cipher that is allowed here',
  },
  ECONNRESET: { code: 'TLS_CLIENT_WENT_AWAY', detail: 'the client closed the connection during the TLS handshake' },
  EPIPE: { code: 'TLS_CLIENT_WENT_AWAY', detail: 'the client closed the connection during the TLS handshake' },
};

const NOT_TLS =
  /WRONG_VERSION_NUMBER|HTTP_REQUEST|PACKET_LENGTH_TOO_LONG|RECORD_TOO_|BAD_RECORD_TYPE|UNEXPECTED_MESSAGE|UNKNOWN_PROTOCOL/;
const DISTRUST = /ALERT_UNKNOWN_CA|ALERT_BAD_CERTIFICATE|ALERT_CERTIFICATE_UNKNOWN|ALERT_CERTIFICATE_EXPIRED/;

/**
 * @param errorCode `code` of the error of `tlsClientError`; undefined when the handshake was finished
 * @param authorizationError of the TLS socket: null unless the certificate itself was refused
 */
export function explainTlsRefusal(errorCode: string | undefined, authorizationError: string | null): TlsRefusal {
  if (authorizationError !== null) {
    return (
      VERDICTS[authorizationError] ?? {
        code: 'TLS_CERTIFICATE_INVALID',
        detail: `the client certificate was refused: ${authorizationError}`,
      }
    );
  }
  const code = errorCode ?? 'no code';
  const known = FAILURES[code];
  if (known !== undefined) return known;
  if (NOT_TLS.test(code))
    return { code: 'TLS_NOT_TLS', detail: 'what came is not TLS: this port speaks MQTT over TLS only' };
  if (DISTRUST.test(code)) {
    return {
      code: 'TLS_GATEWAY_NOT_TRUSTED',
      detail: 'the client does not accept the gateway certificate: check its trust anchor and the host name',
    };
  }
  return { code: 'TLS_FAILED', detail: `the TLS handshake failed: ${code}` };
}
