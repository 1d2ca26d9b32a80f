/** Paths of the status server (plain HTTP). The first three are written into every certificate and so never change. */
export const STATUS_PATHS = {
  crl: '/crl/intermediate.crl',
  intermediate: '/ca/intermediate.cer',
  root: '/ca/root.cer',
  intermediatePem: '/ca/intermediate.pem',
  rootPem: '/ca/root.pem',
  metrics: '/metrics',
  healthz: '/healthz',
  readyz: '/readyz',
} as const;

/** RFC 2585 4 for CRL and certificates; PEM has no registered type, this one is what browsers and tools know. */
export const STATUS_CONTENT_TYPE = {
  crl: 'application/pkix-crl',
  certificate: 'application/pkix-cert',
  pem: 'application/x-pem-file',
} as const;
