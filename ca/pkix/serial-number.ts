/**
 * 16 random octets as 32 lower-case hexadecimal digits (RFC 5280 4.1.2.2: positive, at most 20 octets). The first
 * octet is 01 to 7f: no sign octet is added and no leading zero dropped in DER, so a serial read from a certificate or
 * a CRL is always the very same text.
 */
export type SerialNumber = string & { readonly __brand: 'SerialNumber' };

export function isSerialNumber(value: unknown): value is SerialNumber {
  return typeof value === 'string' && /^(?:0[1-9a-f]|[1-7][0-9a-f])[0-9a-f]{30}$/.test(value);
}

/** @param random 16 octets of a cryptographic source. */
export function formatSerialNumber(random: Uint8Array): SerialNumber {
  const octets = Buffer.from(random);
  octets[0] = (octets[0] ?? 0) & 0x7f || 0x01;
  const serial = octets.toString('hex');
  if (!isSerialNumber(serial)) throw new RangeError('a serial number is made of 16 octets');
  return serial;
}
