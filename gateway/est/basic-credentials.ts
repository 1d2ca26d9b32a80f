export type BasicCredentials = { deviceId: string; ticket: string };

/** Far above any device id and ticket; what is longer is not looked at. */
const MAX_HEADER = 1024;

/**
 * HTTP Basic (RFC 7617): user name up to the first colon, the rest is the password. An empty user name is legal
 * (RFC 7030 3.2.3) and left to the operation to judge.
 * @returns undefined when the header is missing, of another scheme, or broken.
 */
export function parseBasicCredentials(header: string | undefined): BasicCredentials | undefined {
  if (header === undefined || header.length > MAX_HEADER) return undefined;
  const [, base64] = /^basic +([A-Za-z0-9+/]+={0,2}) *$/i.exec(header) ?? [];
  if (base64 === undefined) return undefined;
  const text = Buffer.from(base64, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  if (colon === -1) return undefined;
  const deviceId = text.slice(0, colon);
  const ticket = text.slice(colon + 1);
  return ticket === '' ? undefined : { deviceId, ticket };
}
