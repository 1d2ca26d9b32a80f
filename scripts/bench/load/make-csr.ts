import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';

/** DER tags. */
const INTEGER = 0x02;
const BIT_STRING = 0x03;
const OCTET_STRING = 0x04;
const UTF8_STRING = 0x0c;
const SEQUENCE = 0x30;
const SET = 0x31;
const ATTRIBUTES = 0xa0;
const URI = 0x86;

const COMMON_NAME = Buffer.from('0603550403', 'hex');
const ECDSA_WITH_SHA256 = Buffer.from('06082a8648ce3d040302', 'hex');
const EXTENSION_REQUEST = Buffer.from('06092a864886f70d01090e', 'hex');
const SUBJECT_ALT_NAME = Buffer.from('0603551d11', 'hex');

/**
 * A new P-256 key and a PKCS#10 request for it (RFC 2986), base64 of DER. Written by hand because the load needs
 * thousands: a library takes a second or two for each thousand.
 * @param uri the subjectAltName that a renewal repeats (RFC 7030 4.2.2)
 */
export function makeCsr(commonName: string, uri?: string): { key: KeyObject; csr: string } {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const info = tlv(
    SEQUENCE,
    tlv(INTEGER, Buffer.of(0)),
    tlv(SEQUENCE, tlv(SET, tlv(SEQUENCE, COMMON_NAME, tlv(UTF8_STRING, Buffer.from(commonName))))),
    publicKey.export({ type: 'spki', format: 'der' }),
    tlv(ATTRIBUTES, ...(uri === undefined ? [] : [extensionRequest(uri)])),
  );
  const signature = sign('sha256', info, privateKey);
  const csr = tlv(SEQUENCE, info, tlv(SEQUENCE, ECDSA_WITH_SHA256), tlv(BIT_STRING, Buffer.of(0), signature));
  return { key: privateKey, csr: csr.toString('base64') };
}

/** RFC 2985 5.4.2, with one extension. */
function extensionRequest(uri: string): Buffer {
  const names = tlv(SEQUENCE, tlv(URI, Buffer.from(uri)));
  const extension = tlv(SEQUENCE, SUBJECT_ALT_NAME, tlv(OCTET_STRING, names));
  return tlv(SEQUENCE, EXTENSION_REQUEST, tlv(SET, tlv(SEQUENCE, extension)));
}

/** Content below 64 KiB. */
function tlv(tag: number, ...parts: Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  const head = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.of(tag, ...head), content]);
}
