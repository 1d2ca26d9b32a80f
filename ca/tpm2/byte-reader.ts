import { Tpm2Error, type Tpm2ErrorCode } from './tpm-error.ts';

/**
 * Reads a TPM structure (big-endian, TPM 2.0 Part 2, 4.2) from its first octet to its last. Every length is checked
 * against the buffer before it is used; all methods throw Tpm2Error with the code given here.
 */
export class ByteReader {
  readonly #bytes: Buffer;
  readonly #what: string;
  readonly #code: Tpm2ErrorCode;
  #at = 0;

  /** @param what names the structure in messages, e.g. "the attestation". */
  constructor(bytes: Uint8Array, what: string, code: Tpm2ErrorCode) {
    this.#bytes = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#what = what;
    this.#code = code;
  }

  u8(): number {
    return this.bytes(1).readUInt8();
  }

  u16(): number {
    return this.bytes(2).readUInt16BE();
  }

  u32(): number {
    return this.bytes(4).readUInt32BE();
  }

  u64(): bigint {
    return this.bytes(8).readBigUInt64BE();
  }

  bytes(count: number): Buffer {
    const end = this.#at + count;
    if (end > this.#bytes.length) throw this.malformed('ends too early');
    const taken = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return taken;
  }

  /** The content of a TPM2B: two octets of size, then as many octets. */
  sized(): Buffer {
    return this.bytes(this.u16());
  }

  /** To be called last: octets left over are refused. */
  end(): void {
    if (this.#at !== this.#bytes.length) throw this.malformed('has octets after its end');
  }

  malformed(problem: string): Tpm2Error {
    return new Tpm2Error(this.#code, `${this.#what} ${problem}`);
  }
}
