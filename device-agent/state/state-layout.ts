import type { RecordName } from '#device-agent/ports/state-store.ts';

/** Names inside the state folder. Others' scripts rely on `current/certificate.pem`, `current/key.pem`, `trust.pem`,
 * and those of `crl/`. */
export const LAYOUT = {
  trust: 'trust.pem',
  generations: 'generations',
  /** Symlink to `generations/<n>`. */
  current: 'current',
  key: 'key.pem',
  certificate: 'certificate.pem',
  meta: 'meta.json',
  /** What local services check their peers by. */
  crlFolder: 'crl',
  /** Symlink to `<key id>.crl`, that of the issuer in use. */
  crl: 'crl/current.crl',
  /** The CRLs of all issuers as PEM, and the CAs that signed them. */
  crlsTogether: 'crl/all.pem',
  crlIssuers: 'crl/issuers.pem',
  revoked: 'crl/revoked.json',
  controlSocket: 'agent.sock',
  /** There only while the TPM is at work. */
  tpmWork: 'tpm-work',
  /** Store of tpm2-pkcs11, where TLS needs one; made anew when it is missing. */
  pkcs11: 'pkcs11',
} as const;

export const RECORD_FILES = {
  agent: 'agent.json',
  notices: 'notices.json',
  reports: 'reports.json',
  status: 'status.json',
  'time-floor': 'time-floor.json',
  tpm: 'tpm.json',
  trust: 'trust.json',
} as const satisfies Record<RecordName, string>;
