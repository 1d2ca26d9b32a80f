/** 16 random bytes, top bit clear, as 32 lower-case hexadecimal digits (RFC 5280 4.1.2.2: positive, at most 20 octets). */
export type SerialNumber = string & { readonly __brand: 'SerialNumber' };

export function isSerialNumber(value: unknown): value is SerialNumber {
  return typeof value === 'string' && /^[0-7][0-9a-f]{31}$/.test(value);
}
