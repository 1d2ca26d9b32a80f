import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { Timeline } from '#scripts/demo/timeline.ts';
import { TpmLife } from '#scripts/demo/tpm-life.ts';
import { describeMissing, missingTpmParts } from '#scripts/tpm/missing-tpm-parts.ts';

describe('the demo on a machine where no TPM can be shown', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'parts-'));
  });
  afterAll(() => rm(folder, { recursive: true }));
  afterEach(() => vi.unstubAllEnvs());

  const install = async (name: string) => {
    await writeFile(join(folder, name), '#!/bin/sh\n');
    await chmod(join(folder, name), 0o755);
  };

  test('says in one line what is missing and how to get it', async () => {
    vi.stubEnv('PATH', folder);
    vi.stubEnv('GATEHOUSE_TPM2_PROVIDER', join(folder, 'tpm2.so'));
    const why = await TpmLife.begin(folder);
    expect(why).toBe(
      'a device with a TPM is left out: missing swtpm, swtpm_setup, tpm2_send; `npm test` installs what it may, or by hand: apt-get install swtpm swtpm-tools tpm2-tools',
    );
  });

  test('names the one thing that is missing, and not what is there', async () => {
    for (const name of ['swtpm', 'tpm2_send']) await install(name);
    vi.stubEnv('PATH', folder);
    vi.stubEnv('GATEHOUSE_TPM2_PROVIDER', join(folder, 'tpm2.so'));
    expect(missingTpmParts()).toEqual([{ name: 'swtpm_setup', package: 'swtpm-tools' }]);
  });

  test('names the OpenSSL provider with its package', () => {
    const provider = { name: 'OpenSSL provider for TPM keys, 1.2 or later', package: 'tpm2-openssl' };
    expect(describeMissing('a device with a TPM', [provider])).toContain(
      'missing OpenSSL provider for TPM keys, 1.2 or later; `npm test` installs what it may, or by hand: apt-get install tpm2-openssl',
    );
  });

  test('shows the line in place of the step, and counts it as none', async () => {
    const written: string[] = [];
    const stdout = vi.spyOn(process.stdout, 'write').mockImplementation((text) => written.push(String(text)) > 0);
    try {
      const timeline = new Timeline(true);
      timeline.leaveOut('a device with a TPM is left out: missing swtpm');
      await timeline.step('the next step', async () => ['a fact']);
      expect(timeline).toMatchObject({ leftOut: [expect.stringContaining('swtpm')], steps: [{ number: 1 }] });
    } finally {
      stdout.mockRestore();
    }
    expect(written[0]).toContain('-  a device with a TPM is left out: missing swtpm\n');
  });
});
