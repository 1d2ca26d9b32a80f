/** When a certificate is to be renewed, as the gateway suggests it: RFC 9773 in the paths of EST. */

export const RENEWAL_INFO_PATH = '/.well-known/est/renewal-info';

/** Seconds; both ends of Retry-After (RFC 9773 4.3.2: it is the least and the most to wait). */
export const RENEWAL_INFO_RETRY = { least: 60, most: 24 * 3600 } as const;

/**
 * Header of an EST answer that holds a certificate: its suggested window as two moments (RFC 3339) with `/` between, so
 * that an agent need not ask for it. Over MQTT it stands in the answer.
 */
export const RENEWAL_WINDOW_HEADER = 'Gatehouse-Renewal-Window';

/** Milliseconds UTC; it ends after it starts. */
export type SuggestedWindow = { start: number; end: number };

/** The JSON of an answer (RFC 9773 4.2). RFC 3339. */
export type RenewalInfo = { suggestedWindow: { start: string; end: string } };

/** What names a certificate: key identifier of its issuer (AKI) and serial, lower-case hexadecimal. */
export type CertificateName = { issuerKeyId: string; serial: string };

/** RFC 9773 4.1: base64url of the AKI, a dot, base64url of the serial's content octets, both without padding. */
export function formatCertId({ issuerKeyId, serial }: CertificateName): string {
  return [issuerKeyId, serial].map((hex) => Buffer.from(hex, 'hex').toString('base64url')).join('.');
}

/** @returns undefined when it is none: other characters, padding, or more than an AKI and a serial can have. */
export function parseCertId(text: string): CertificateName | undefined {
  const [, keyId, serial] = /^([A-Za-z0-9_-]{2,86})\.([A-Za-z0-9_-]{2,28})$/.exec(text) ?? [];
  if (keyId === undefined || serial === undefined) return undefined;
  const octets = [keyId, serial].map((part) => Buffer.from(part, 'base64url'));
  // Only the one way to write it: leftover bits would give one certificate many names, and a cache many entries.
  if (octets.map((part) => part.toString('base64url')).join('.') !== text) return undefined;
  const [issuerKeyId = '', serialOctets = ''] = octets.map((part) => part.toString('hex'));
  return { issuerKeyId, serial: serialOctets };
}

export function formatSuggestedWindow({ start, end }: SuggestedWindow): string {
  return `${new Date(start).toISOString()}/${new Date(end).toISOString()}`;
}

/** @returns undefined when it is no window: RFC 9773 4.2 has a client take an end that is not after the start for no answer. */
export function parseSuggestedWindow(value: unknown): SuggestedWindow | undefined {
  const { start, end } = windowParts(value);
  const window = { start: momentOf(start), end: momentOf(end) };
  return Number.isFinite(window.start) && window.end > window.start ? window : undefined;
}

/** Of a header, or of an object with moments as numbers or RFC 3339. */
function windowParts(value: unknown): { start?: unknown; end?: unknown } {
  if (typeof value === 'string') {
    const [start, end, more] = value.split('/');
    return more === undefined ? { start, end } : {};
  }
  return typeof value === 'object' && value !== null ? value : {};
}

const RFC_3339 = /^\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})$/;

/** Milliseconds UTC, NaN when it is no moment. */
function momentOf(value: unknown): number {
  if (typeof value === 'string') return RFC_3339.test(value) ? Date.parse(value) : Number.NaN;
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : Number.NaN;
}
