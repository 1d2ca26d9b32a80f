import { nameOf } from '#ca/tpm2/public-area.ts';
import { readPublicArea } from './persistent-key.ts';
import type { TpmBench } from './tpm-workbench.ts';

/** Takes loaded objects with one of these Names (lower-case hexadecimal) out of their slots. @throws TpmError */
export async function releaseObjects(bench: TpmBench, names: ReadonlySet<string>): Promise<void> {
  for (const handle of await bench.handles('handles-transient')) {
    const area = await readPublicArea(bench, handle);
    if (area && names.has(nameOf(area).toString('hex'))) await bench.run(`tpm2_flushcontext ${handle}`);
  }
}
