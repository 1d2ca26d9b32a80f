import { PkixError } from './pkix-error.ts';

/** RFC 7468: 64 columns, final newline. @param label e.g. `CERTIFICATE`. */
export function formatPem(label: string, der: Uint8Array): string {
  const text = Buffer.from(der.buffer, der.byteOffset, der.byteLength).toString('base64');
  return `-----BEGIN ${label}-----\n${text.replace(/.{1,64}/g, '$&\n')}-----END ${label}-----\n`;
}

const MAX_PEM_CHARACTERS = 1024 * 1024;

/**
 * Every block with this label, in order; other blocks and text around are passed over.
 * @throws PkixError MALFORMED when there is none, or one is broken.
 */
export function parsePem(text: string, label: string): Buffer[] {
  if (text.length > MAX_PEM_CHARACTERS) throw new PkixError('MALFORMED', 'the PEM text is too large');
  const begin = `-----BEGIN ${label}-----`;
  const end = `-----END ${label}-----`;
  const blocks: Buffer[] = [];
  for (let at = text.indexOf(begin); at !== -1; at = text.indexOf(begin, at)) {
    const from = at + begin.length;
    const to = text.indexOf(end, from);
    if (to === -1) throw new PkixError('MALFORMED', `the PEM block ${label} has no end`);
    const base64 = text.slice(from, to).replace(/[\r\n \t]+/g, '');
    if (base64 === '' || base64.length % 4 !== 0 || !/^[A-Za-z0-9+/]+={0,2}$/.test(base64)) {
      throw new PkixError('MALFORMED', `the PEM block ${label} is not base64`);
    }
    blocks.push(Buffer.from(base64, 'base64'));
    at = to + end.length;
  }
  if (blocks.length === 0) throw new PkixError('MALFORMED', `there is no PEM block ${label}`);
  return blocks;
}
