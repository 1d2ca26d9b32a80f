import { TpmError } from './tpm-error.ts';
import type { TpmBench } from './tpm-workbench.ts';

/**
 * The DER values at the start of an NV index, which may be larger than what was written into it.
 * @param index must exist: tools before 5.5 crash on one that does not. @throws TpmError
 */
export async function readNvDer(bench: TpmBench, index: string): Promise<Buffer[]> {
  await readNv(bench, index);
  return splitDer(await bench.read('nv.bin'));
}

/** With the (empty) password of the index itself, which needs no owner; else as the owner. */
async function readNv(bench: TpmBench, index: string): Promise<void> {
  try {
    await bench.run(`tpm2_nvread -Q -C ${index} -o nv.bin ${index}`);
  } catch (error) {
    if (!(error instanceof TpmError) || error.responseCode === undefined) throw error;
    await bench.run(`tpm2_nvread -Q -C o -o nv.bin ${index}`);
  }
}

/** Whole SEQUENCEs one after the other; padding, of whatever bytes, ends them. */
export function splitDer(bytes: Buffer): Buffer[] {
  const values: Buffer[] = [];
  let rest = bytes;
  for (;;) {
    const length = sequenceLength(rest);
    if (length === undefined || length > rest.length) return values;
    values.push(rest.subarray(0, length));
    rest = rest.subarray(length);
  }
}

/** Of a DER SEQUENCE with its header; certificates need two or three octets of length. */
function sequenceLength(bytes: Buffer): number | undefined {
  const [tag, first = 0, second = 0, third = 0] = bytes;
  if (tag !== 0x30) return undefined;
  if (first === 0x82) return 4 + second * 256 + third;
  if (first === 0x81) return 3 + second;
  return first < 0x80 ? 2 + first : undefined;
}
