import { createHmac, hash } from 'node:crypto';
import { HASHES, type TpmHash } from './algorithms.ts';
import { ByteWriter } from './byte-writer.ts';

/** Labels are hashed with their terminating zero octet. @param label ASCII. */
export function formatLabel(label: string): Buffer {
  return Buffer.from(`${label}\0`, 'latin1');
}

const EMPTY = Buffer.alloc(0);

/** KDFa (TPM 2.0 Part 1, 11.4.10.2): SP 800-108 in counter mode with HMAC. @param bits of the key wanted. */
export function kdfA(
  algorithm: TpmHash,
  key: Uint8Array,
  label: string,
  bits: number,
  contextU: Uint8Array = EMPTY,
  contextV: Uint8Array = EMPTY,
): Buffer {
  const fixed = new ByteWriter().bytes(formatLabel(label)).bytes(contextU).bytes(contextV).u32(bits).toBuffer();
  return counted(algorithm, bits, (counter) => createHmac(algorithm, key).update(counter).update(fixed).digest());
}

/**
 * KDFe (TPM 2.0 Part 1, 11.4.10.3): SP 800-56A's concatenation KDF.
 * @param sharedX x coordinate of the shared point, as long as the field. @param partyU x coordinate of the ephemeral key.
 * @param partyV x coordinate of the static key.
 */
export function kdfE(
  algorithm: TpmHash,
  sharedX: Uint8Array,
  label: string,
  bits: number,
  partyU: Uint8Array,
  partyV: Uint8Array,
): Buffer {
  const fixed = [sharedX, formatLabel(label), partyU, partyV];
  return counted(algorithm, bits, (counter) => hash(algorithm, Buffer.concat([counter, ...fixed]), 'buffer'));
}

/** Blocks of counters from 1, cut to the octets needed; bits too many are cleared at the top. */
function counted(algorithm: TpmHash, bits: number, block: (counter: Buffer) => Buffer): Buffer {
  const octets = Math.ceil(bits / 8);
  const blocks: Buffer[] = [];
  for (let i = 1; (i - 1) * HASHES[algorithm].bytes < octets; i += 1) {
    blocks.push(block(new ByteWriter().u32(i).toBuffer()));
  }
  const key = Buffer.concat(blocks, octets);
  if (bits % 8 !== 0) key[0] = (key[0] ?? 0) & ((1 << (bits % 8)) - 1);
  return key;
}
