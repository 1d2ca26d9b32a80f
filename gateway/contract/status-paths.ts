/**
 * Paths of the status server (plain HTTP). `crl`, `intermediate` and `ocsp` are written into every certificate and so
 * never change; `shards` into those issued while revocations are spread over several lists.
 */
export const STATUS_PATHS = {
  crl: '/crl/intermediate.crl',
  /** What changed since a complete list; named by the complete list. */
  deltaCrl: '/crl/delta.crl',
  /** Which intermediates are revoked, signed by the root; only when it was made (`gatehouse ca crl`). */
  rootCrl: '/crl/root.crl',
  /** `/crl/<name>.crl`: `intermediate`, `delta`, `shard-<count>-<index>`, and the same of an issuer by its key id. */
  lists: '/crl',
  /** POST, and GET with the request in base64 as the rest of the path (RFC 6960 A.1). */
  ocsp: '/ocsp',
  intermediate: '/ca/intermediate.cer',
  root: '/ca/root.cer',
  intermediatePem: '/ca/intermediate.pem',
  rootPem: '/ca/root.pem',
  /** What devices and gateway say over MQTT, as AsyncAPI 3. */
  mqttContract: '/asyncapi.json',
  metrics: '/metrics',
  healthz: '/healthz',
  readyz: '/readyz',
} as const;

/** RFC 2585 4 for CRL and certificates; PEM has no registered type, this one is what browsers and tools know. */
export const STATUS_CONTENT_TYPE = {
  crl: 'application/pkix-crl',
  certificate: 'application/pkix-cert',
  pem: 'application/x-pem-file',
  json: 'application/json',
  ocspRequest: 'application/ocsp-request',
  ocspResponse: 'application/ocsp-response',
} as const;
