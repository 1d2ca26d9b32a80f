/** EST over HTTPS: paths, content types and body encoding (RFC 7030, RFC 8951). */

export const EST_BASE_PATH = '/.well-known/est';

/** Where an agent that has verified the gateway learns the rest: MQTT address, trust domain, the gateway's time. */
export const DIRECTORY_PATH = '/.well-known/gatehouse';

export type EstOperation = 'cacerts' | 'simpleenroll' | 'simplereenroll' | 'csrattrs' | 'serverkeygen' | 'fullcmc';

/** RFC 7030 3.2.2: a label must not be the name of an operation, of one that is not offered neither. */
export const NO_LABELS: ReadonlySet<string> = new Set([
  'cacerts',
  'csrattrs',
  'simpleenroll',
  'simplereenroll',
  'serverkeygen',
  'fullcmc',
  'tpm-challenge',
  'nonce',
  'renewal-info',
]);

export const CONTENT_TYPE = {
  csr: 'application/pkcs10',
  caCertificates: 'application/pkcs7-mime',
  // Byte for byte: strongSwan and libest compare it as a string.
  certsOnly: 'application/pkcs7-mime; smime-type=certs-only',
  csrAttributes: 'application/csrattrs',
} as const;

/** Largest CSR body accepted, in bytes: an RSA-4096 CSR is under 3 KiB in base64. Stops unbounded buffering. */
export const MAX_EST_BODY_BYTES = 64 * 1024;

/** Header with the id of this attempt; the same id stands in the log, the audit and the agent's output. */
export const ATTEMPT_HEADER = 'Gatehouse-Attempt';

/** One line of base64 (strongSwan cannot read more), or 64-column lines for clients that need them (libest). */
export function formatEstBody(der: Uint8Array, options: { lines?: boolean } = {}): string {
  const text = Buffer.from(der.buffer, der.byteOffset, der.byteLength).toString('base64');
  return options.lines === true ? text.replace(/.{1,64}/g, '$&\n') : `${text}\n`;
}

/**
 * Base64 of DER with any CR, LF, space or tab inside (RFC 8951 3.1); any Content-Transfer-Encoding is ignored.
 * @returns undefined when it is not base64: PEM armour, other characters, wrong padding or nothing at all.
 */
export function parseEstBody(text: string): Buffer | undefined {
  const compact = text.replace(/[\r\n \t]+/g, '');
  if (compact === '' || compact.length % 4 !== 0 || !/^[A-Za-z0-9+/]+={0,2}$/.test(compact)) return undefined;
  return Buffer.from(compact, 'base64');
}

/** The directory document. Unknown fields are ignored; an unknown version is refused. */
export type Directory = {
  version: 1;
  trustDomain: string;
  /** host is left out when it is the host the directory was fetched from. */
  mqtt: { host?: string; port: number };
  /** Milliseconds UTC by the gateway's clock. */
  time: number;
  /** For who has sent a nonce, see signed-time.ts. */
  signedTime?: string;
};
