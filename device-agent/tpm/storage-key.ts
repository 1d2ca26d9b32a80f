import { readPublicArea } from './persistent-key.ts';
import { TpmError } from './tpm-error.ts';
import type { TpmBench } from './tpm-workbench.ts';
import { wrongTpm } from './wrong-tpm.ts';

/** Where every platform keeps the storage root key (TCG TPM 2.0 Provisioning Guidance 7.8). */
export const STORAGE_KEY_HANDLE = 0x81000001;
export const STORAGE_KEY = '0x81000001';

const ATTRIBUTES = 'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|decrypt';

/** The parent of all our keys: the one that is there, whoever made it, or a P-256 one. @throws TpmError */
export async function ensureStorageKey(bench: TpmBench, options: { create: boolean }): Promise<void> {
  const persistent = await bench.handles('handles-persistent');
  if (persistent.includes(STORAGE_KEY)) return checkStorageKey(bench);
  if (!options.create) throw wrongTpm('the TPM does not hold the storage key of this device');
  await bench.run(`tpm2_createprimary -Q -C o -G ecc256 -g sha256 -a ${ATTRIBUTES} -c srk.ctx`);
  try {
    await bench.run(`tpm2_evictcontrol -Q -C o -c srk.ctx ${STORAGE_KEY}`);
  } catch (error) {
    // Somebody else has made it in the meantime, from the same seed.
    if (!(error instanceof TpmError) || error.tpmCode !== 'HANDLE_TAKEN') throw error;
    await checkStorageKey(bench);
  }
}

async function checkStorageKey(bench: TpmBench): Promise<void> {
  const area = await readPublicArea(bench, STORAGE_KEY);
  if (area?.attributes.has('restricted') && area.attributes.has('decrypt') && area.attributes.has('fixedTPM')) return;
  throw new TpmError('FAILED', `the key at ${STORAGE_KEY} is no storage key`, {
    advice: `find out who put it there; the agent needs the storage root key at ${STORAGE_KEY}`,
  });
}
