import { formatAttributes } from '#ca/tpm2/object-attributes.ts';
import { type EccPublicArea, nameOf } from '#ca/tpm2/public-area.ts';
import { AK_ATTRIBUTES } from '#ca/tpm2/templates.ts';
import { formatHandle, readPublicArea } from './persistent-key.ts';
import { STORAGE_KEY } from './storage-key.ts';
import { TpmError } from './tpm-error.ts';
import type { TpmBench } from './tpm-workbench.ts';

/** Persistent handles of the owner (0x81000000 to 0x8100ffff, TCG registry of reserved handles) that we choose from. */
const FIRST_HANDLE = 0x81000020;
const COUNT = 0x10;

/**
 * Where the device key is for the time of a certification: each attestation key has a place of its own beside it, so
 * that two agents on one TPM do not meet there.
 */
export function scratchHandleOf(akHandle: number): number {
  return akHandle + COUNT;
}

const ATTRIBUTES = 'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|sign';

/** The lowest that is free now, for an attestation key. @throws TpmError NO_SPACE */
export async function chooseHandle(bench: TpmBench): Promise<number> {
  const taken = new Set((await bench.handles('handles-persistent')).map(Number));
  for (let handle = FIRST_HANDLE; handle < FIRST_HANDLE + COUNT; handle += 1) {
    if (!taken.has(handle) && !taken.has(scratchHandleOf(handle))) return handle;
  }
  throw new TpmError('NO_SPACE', 'every handle for keys of this agent is taken', {
    advice: 'remove what nobody uses: tpm2_getcap handles-persistent, tpm2_evictcontrol -c HANDLE',
  });
}

/**
 * Restricted, so that it signs only what the TPM itself has made; made here and not by tpm2_createak, which leaves noda
 * out. @throws TpmError HANDLE_TAKEN and others
 */
export async function createAttestationKey(bench: TpmBench, handle: number): Promise<EccPublicArea> {
  await bench.run(
    `tpm2_create -Q -C ${STORAGE_KEY} -G ecc256:ecdsa-sha256:null -g sha256 -a ${ATTRIBUTES} -u ak.pub -r ak.priv`,
  );
  await bench.run(`tpm2_load -Q -C ${STORAGE_KEY} -u ak.pub -r ak.priv -c ak.ctx`);
  await bench.run(`tpm2_evictcontrol -Q -C o -c ak.ctx ${formatHandle(handle)}`);
  const made = await readAttestationKey(bench, handle);
  if (!made) throw new TpmError('FAILED', 'the TPM has made another key than an attestation key');
  return made;
}

/** @returns undefined when there is nothing, or something else. @throws TpmError */
export async function readAttestationKey(bench: TpmBench, handle: number): Promise<EccPublicArea | undefined> {
  const text = formatHandle(handle);
  if (!(await bench.handles('handles-persistent')).includes(text)) return undefined;
  const area = await readPublicArea(bench, text);
  const isOurs =
    area?.type === 'ecc' &&
    area.curve === 'P-256' &&
    area.scheme?.algorithm === 'ecdsa' &&
    area.authPolicy.length === 0 &&
    formatAttributes(area.attributes) === formatAttributes(AK_ATTRIBUTES);
  return isOurs ? area : undefined;
}

/** Any that an agent has left. @throws TpmError */
export async function findAttestationKey(
  bench: TpmBench,
): Promise<{ handle: number; area: EccPublicArea } | undefined> {
  for (let handle = FIRST_HANDLE; handle < FIRST_HANDLE + COUNT; handle += 1) {
    const area = await readAttestationKey(bench, handle);
    if (area) return { handle, area };
  }
  return undefined;
}

/** Lower-case hexadecimal. */
export function formatName(area: EccPublicArea): string {
  return nameOf(area).toString('hex');
}
