import { hash } from 'node:crypto';
import { formatCertifyCommand, parseCertifyResponse } from '#ca/tpm2/certify-command.ts';
import { formatAttributes } from '#ca/tpm2/object-attributes.ts';
import { nameOf, type PublicArea, parseSizedPublicArea } from '#ca/tpm2/public-area.ts';
import { DEVICE_KEY_ATTRIBUTES } from '#ca/tpm2/templates.ts';
import { formatTss2Pem, type Tss2Key } from '#ca/tpm2/tss2-pem.ts';
import { scratchHandleOf } from './attestation-key.ts';
import { explainResponseCode } from './explain-tool-failure.ts';
import { formatHandle, readPublicArea } from './persistent-key.ts';
import { retryWhilePassing } from './run-tpm-tool.ts';
import { STORAGE_KEY, STORAGE_KEY_HANDLE } from './storage-key.ts';
import { TpmError } from './tpm-error.ts';
import type { TpmBench } from './tpm-workbench.ts';
import { wrongTpm } from './wrong-tpm.ts';

const ATTRIBUTES = 'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|sign';

/**
 * A new P-256 key, bound to no scheme so that it can sign with the hash a TLS handshake picks, wrapped by the storage
 * key. Nothing of it stays in the TPM. @returns TSS2 PRIVATE KEY, PEM. @throws TpmError
 */
export async function createDeviceKey(bench: TpmBench): Promise<string> {
  await bench.run(`tpm2_create -Q -C ${STORAGE_KEY} -G ecc256 -g sha256 -a ${ATTRIBUTES} -u device.pub -r device.priv`);
  const [publicArea, privateArea] = [await bench.read('device.pub'), await bench.read('device.priv')];
  return formatTss2Pem({ parentHandle: STORAGE_KEY_HANDLE, publicArea, privateArea });
}

/** @returns ECDSA-Sig-Value, DER. @throws TpmError */
export async function signWithDeviceKey(bench: TpmBench, key: Tss2Key, message: Uint8Array): Promise<Buffer> {
  const context = await loadDeviceKey(bench, key);
  await bench.write('digest.bin', hash('sha256', message, 'buffer'));
  await bench.run(`tpm2_sign -Q -c ${context} -g sha256 -s ecdsa -d -f plain -o signature.der digest.bin`);
  return bench.read('signature.der');
}

export type CertifyOrder = {
  key: Tss2Key;
  akHandle: number;
  qualifyingData: Buffer;
};

/**
 * TPM2_Certify of the device key by the AK. The raw command needs both by handle, and under a resource manager a handle
 * means nothing to the next program unless it is persistent: so the key is persistent for as long as it takes.
 * @throws TpmError; Tpm2Error when the answer is no answer
 */
export async function certifyDeviceKey(
  bench: TpmBench,
  { key, akHandle, qualifyingData }: CertifyOrder,
): Promise<{ attest: Buffer; signature: Buffer }> {
  const scratchHandle = scratchHandleOf(akHandle);
  const scratch = formatHandle(scratchHandle);
  const area = parseSizedPublicArea(Buffer.from(key.publicArea));
  const isThere = await clearScratch(bench, scratch, area);
  if (!isThere) {
    const context = await loadDeviceKey(bench, key);
    await bench.run(`tpm2_evictcontrol -Q -C o -c ${context} ${scratch}`);
  }
  try {
    await bench.write(
      'certify.bin',
      formatCertifyCommand({ objectHandle: scratchHandle, signHandle: akHandle, qualifyingData }),
    );
    return parseCertifyResponse(await retryWhilePassing(() => send(bench, 'TPM2_Certify', 'certify.bin')));
  } finally {
    await bench.run(`tpm2_evictcontrol -Q -C o -c ${scratch}`).catch(() => {});
  }
}

/** @returns the response to the raw command in a file. @throws TpmError when it is an error. */
async function send(bench: TpmBench, command: string, file: string): Promise<Buffer> {
  // From a file and not by stdin: the tool would hold the TPM while it waits for us.
  await bench.run(`tpm2_send -Q -o response.bin ${file}`);
  const response = await bench.read('response.bin');
  const responseCode = response.length < 10 ? 0 : response.readUInt32BE(6);
  if (responseCode !== 0) throw explainResponseCode(command, responseCode, bench.tcti);
  return response;
}

/**
 * What an interrupted run left at our scratch handle. @returns whether it is the wanted key already.
 * @throws TpmError HANDLE_TAKEN when somebody else has put another kind of key there
 */
async function clearScratch(bench: TpmBench, scratch: string, wanted: PublicArea): Promise<boolean> {
  if (!(await bench.handles('handles-persistent')).includes(scratch)) return false;
  const found = await readPublicArea(bench, scratch);
  if (found && nameOf(found).equals(nameOf(wanted))) return true;
  if (!found || !isDeviceKey(found)) {
    throw new TpmError('HANDLE_TAKEN', `another program has put its key at ${scratch}, which this agent uses`, {
      advice: `see whose it is: tpm2_readpublic -c ${scratch}; then tpm2_evictcontrol -c ${scratch}`,
    });
  }
  await bench.run(`tpm2_evictcontrol -Q -C o -c ${scratch}`);
  return false;
}

/** One of ours, of an earlier run. */
function isDeviceKey({ attributes, scheme, authPolicy }: PublicArea): boolean {
  const isOfOurs = formatAttributes(attributes) === formatAttributes(DEVICE_KEY_ATTRIBUTES);
  return isOfOurs && scheme === undefined && authPolicy.length === 0;
}

/** @returns its context file on the bench. @throws TpmError */
export async function loadDeviceKey(bench: TpmBench, key: Tss2Key): Promise<string> {
  await bench.write('device.pub', key.publicArea);
  await bench.write('device.priv', key.privateArea);
  const parent = formatHandle(key.parentHandle);
  try {
    await bench.run(`tpm2_load -Q -C ${parent} -u device.pub -r device.priv -c device.ctx`);
  } catch (error) {
    if (!(error instanceof TpmError) || error.tpmCode !== 'NOTHING_THERE') throw error;
    throw wrongTpm('the TPM does not hold the storage key that wraps the key of this device', error);
  }
  return 'device.ctx';
}
