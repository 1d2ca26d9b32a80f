import { readDer, TAG } from './der.ts';
import { DerFields, onlyChild, readNumber, readUnsigned } from './der-values.ts';
import { PkixError } from './pkix-error.ts';

const MAX_CERTIFICATE_BYTES = 64 * 1024;

/**
 * The serial number alone, for callers that look the certificate up by it and then compare every octet with what they
 * hold: nothing behind the serial number is read, so this says nothing about the rest.
 * @param der Certificate (RFC 5280 4.1)
 * @returns lower-case hexadecimal of the INTEGER without its sign octet, as `parseCertificate` has it
 * @throws PkixError MALFORMED, or UNSUPPORTED for another version than v3
 */
export function readSerialNumber(der: Uint8Array): string {
  if (der.length > MAX_CERTIFICATE_BYTES) throw new PkixError('MALFORMED', 'the certificate is too large');
  const tbs = new DerFields(readDer(der), 'a certificate').take(TAG.sequence, 'its signed part');
  const fields = new DerFields(tbs, 'a certificate');
  const version = readNumber(onlyChild(fields.take(0xa0, 'its version'), 'version'), 'version');
  if (version !== 2) throw new PkixError('UNSUPPORTED', `certificate version ${version + 1}`);
  const serial = readUnsigned(fields.take(TAG.integer, 'a serial number'), 'a serial number');
  // RFC 5280 4.1.2.2
  if (serial.length > 20) throw new PkixError('MALFORMED', 'a serial number is at most 20 octets');
  return serial.toString('hex');
}
