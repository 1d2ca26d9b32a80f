/** Writes a TPM structure (big-endian). Numbers and lengths that do not fit their field are RangeErrors of the caller. */
export class ByteWriter {
  readonly #parts: Uint8Array[] = [];

  u8(value: number): this {
    const field = Buffer.allocUnsafe(1);
    field.writeUInt8(value);
    return this.bytes(field);
  }

  u16(value: number): this {
    const field = Buffer.allocUnsafe(2);
    field.writeUInt16BE(value);
    return this.bytes(field);
  }

  u32(value: number): this {
    const field = Buffer.allocUnsafe(4);
    field.writeUInt32BE(value);
    return this.bytes(field);
  }

  u64(value: bigint): this {
    const field = Buffer.allocUnsafe(8);
    field.writeBigUInt64BE(value);
    return this.bytes(field);
  }

  bytes(value: Uint8Array): this {
    this.#parts.push(value);
    return this;
  }

  /** A TPM2B: two octets of size, then the octets. */
  sized(value: Uint8Array): this {
    return this.u16(value.length).bytes(value);
  }

  toBuffer(): Buffer {
    return Buffer.concat(this.#parts);
  }
}
