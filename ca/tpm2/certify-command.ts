import { ALGORITHM } from './algorithms.ts';
import { ByteReader } from './byte-reader.ts';
import { ByteWriter } from './byte-writer.ts';
import { Tpm2Error } from './tpm-error.ts';

const WITH_SESSIONS = 0x8002;
const CERTIFY = 0x00000148;
/** TPM_RS_PW with an empty password: handle, no nonce, no attributes, no HMAC. */
const EMPTY_PASSWORD = Buffer.from('400000090000000000', 'hex');

/**
 * TPM2_Certify (TPM 2.0 Part 3, 18.2) over two keys with empty auth, signed by the scheme of the signing key.
 * Written here because tpm2_certify before 5.8 cannot carry qualifying data.
 */
export function formatCertifyCommand(command: {
  objectHandle: number;
  signHandle: number;
  qualifyingData: Uint8Array;
}): Buffer {
  const body = new ByteWriter()
    .u32(CERTIFY)
    .u32(command.objectHandle)
    .u32(command.signHandle)
    .u32(2 * EMPTY_PASSWORD.length)
    .bytes(EMPTY_PASSWORD)
    .bytes(EMPTY_PASSWORD)
    .sized(command.qualifyingData)
    .u16(ALGORITHM.nothing)
    .toBuffer();
  return new ByteWriter()
    .u16(WITH_SESSIONS)
    .u32(6 + body.length)
    .bytes(body)
    .toBuffer();
}

export type CertifyResponse = {
  /** The bare TPMS_ATTEST, as it was signed. */
  attest: Buffer;
  /** TPMT_SIGNATURE. */
  signature: Buffer;
};

/** @throws Tpm2Error RESPONSE_REFUSED with the TPM's response code in the message, RESPONSE_MALFORMED */
export function parseCertifyResponse(bytes: Uint8Array): CertifyResponse {
  const reader = new ByteReader(bytes, 'the response to TPM2_Certify', 'RESPONSE_MALFORMED');
  const tag = reader.u16();
  if (reader.u32() !== bytes.length) throw reader.malformed('has another size than it says');
  const responseCode = reader.u32();
  if (responseCode !== 0)
    throw new Tpm2Error('RESPONSE_REFUSED', `the TPM answered TPM2_Certify with 0x${responseCode.toString(16)}`);
  if (tag !== WITH_SESSIONS) throw reader.malformed('has no sessions');
  const parameters = reader.bytes(reader.u32());
  const inner = new ByteReader(parameters, 'the response to TPM2_Certify', 'RESPONSE_MALFORMED');
  const attest = inner.sized();
  return { attest, signature: parameters.subarray(2 + attest.length) };
}
