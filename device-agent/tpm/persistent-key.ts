import { type PublicArea, parseSizedPublicArea } from '#ca/tpm2/public-area.ts';
import type { TpmBench } from './tpm-workbench.ts';

/** As the tools take and print it. */
export function formatHandle(handle: number): string {
  return `0x${handle.toString(16).padStart(8, '0')}`;
}

/** @returns undefined when the object at this handle is no key of a kind that is used here. @throws TpmError */
export async function readPublicArea(bench: TpmBench, handle: string): Promise<PublicArea | undefined> {
  await bench.run(`tpm2_readpublic -Q -c ${handle} -f tss -o read.pub`);
  try {
    return parseSizedPublicArea(await bench.read('read.pub'));
  } catch {
    return undefined;
  }
}
