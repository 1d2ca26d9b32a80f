import { describe, expect, it } from 'vitest';
import { chooseProvider, chooseTcti, recordedProvider } from '#device-agent/key-access.ts';
import { MemoryStateStore } from '#device-agent/state/memory-state-store.ts';

const CONFIG = {
  version: 1,
  est: { host: 'gw', port: 8443 },
  mqtt: { host: 'gw', port: 8883 },
  deviceId: 'pump-17',
  trustDomain: 'plant.example',
  rootSha256: 'ab'.repeat(32),
};

async function folderWith(keyProvider: 'software' | 'tpm' | undefined, isEnrolled = true): Promise<MemoryStateStore> {
  const store = new MemoryStateStore();
  if (keyProvider === undefined) return store;
  await store.writeRecord('agent', { ...CONFIG, keyProvider });
  const number = await store.addGeneration('key', {});
  if (isEnrolled) await store.switchTo(number);
  return store;
}

const TCTI = 'swtpm:path=/run/tpm.sock';

describe('where the keys of a device are to live', () => {
  it('takes the TPM with `auto` when there is one, and never less from then on', async () => {
    const wish = { choice: 'auto', tcti: TCTI, replace: false } as const;
    expect(await chooseProvider(new MemoryStateStore(), wish)).toBe('tpm');
    expect(await chooseProvider(await folderWith('tpm'), { ...wish, tcti: undefined })).toBe('tpm');
    expect(await chooseProvider(await folderWith('tpm', false), { ...wish, tcti: undefined })).toBe('tpm');
    expect(await chooseProvider(await folderWith('tpm'), { ...wish, tcti: undefined, replace: true })).toBe('tpm');
  });

  it('refuses `software` where the keys are in a TPM', async () => {
    for (const replace of [true, false]) {
      await expect(
        chooseProvider(await folderWith('tpm'), { choice: 'software', tcti: undefined, replace }),
      ).rejects.toMatchObject({ code: 'KEY_UNSUPPORTED' });
    }
  });

  it('moves from a file to the TPM only when the identity is to be replaced', async () => {
    const wish = { choice: 'tpm', tcti: TCTI } as const;
    await expect(chooseProvider(await folderWith('software'), { ...wish, replace: false })).rejects.toMatchObject({
      code: 'ALREADY_ENROLLED',
    });
    expect(await chooseProvider(await folderWith('software'), { ...wish, replace: true })).toBe('tpm');
    // `auto` does not do it behind anybody's back.
    expect(await chooseProvider(await folderWith('software'), { choice: 'auto', tcti: TCTI, replace: false })).toBe(
      'software',
    );
  });

  it('reaches the TPM as asked, else as before, else by the resource manager of the kernel', async () => {
    const store = new MemoryStateStore();
    expect(await chooseTcti(store, undefined)).toBe('device:/dev/tpmrm0');
    await store.writeRecord('tpm', { version: 1, tcti: TCTI, akHandle: 0x81000020 });
    expect(await chooseTcti(store, undefined)).toBe(TCTI);
    expect(await chooseTcti(store, 'tabrmd')).toBe('tabrmd');
  });

  it('reads the records of earlier versions, and refuses providers it does not know', async () => {
    expect(await recordedProvider(await folderWith('software'))).toBe('software');
    const store = new MemoryStateStore();
    await store.writeRecord('agent', { ...CONFIG, keyProvider: 'enclave' });
    await expect(recordedProvider(store)).rejects.toMatchObject({ code: 'STATE_BROKEN' });
  });
});
