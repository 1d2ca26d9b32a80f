import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findOpensslProvider, requireUsable, writeProviderConfig } from '#device-agent/tpm/openssl-provider.ts';

describe('the OpenSSL provider for keys in a TPM', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'gatehouse-provider-'));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  /** Strings in a shared object end with a zero octet. */
  async function moduleOf(version: string): Promise<string> {
    const path = join(folder, 'tpm2.so');
    await writeFile(path, `\x7fELF\0TPM 2.0 Provider\0${version}\0more\0`, 'latin1');
    return path;
  }

  it.each([
    ['1.1.1', false],
    ['1.2.0', true],
    ['1.3.0', true],
    ['2.0.0', true],
  ])('of version %s is usable: %s', async (version, isUsable) => {
    const module = await moduleOf(version);
    expect(await findOpensslProvider(module)).toEqual({ module, version, isUsable });
  });

  it('is refused when it is too old, with its version, its place and what to install', async () => {
    const found = await findOpensslProvider(await moduleOf('1.1.1'));
    expect(() => requireUsable(found)).toThrow(/too old: 1\.1\.1 at .*tpm2\.so/);
    expect(() => requireUsable(found)).toThrow(
      expect.objectContaining({
        tpmCode: 'PROVIDER_UNFIT',
        advice: expect.stringContaining('apt-get install tpm2-openssl') as string,
      }) as Error,
    );
  });

  it('is missed by name', async () => {
    expect(await findOpensslProvider(join(folder, 'none.so'))).toBeUndefined();
    expect(() => requireUsable(undefined)).toThrow(/tpm2-openssl.* not installed/);
  });

  it("stands after OpenSSL's own in a configuration that only this user may change", async () => {
    const path = await writeProviderConfig(folder, '/somewhere/tpm2.so');
    const text = await readFile(path, 'utf8');
    expect(text.indexOf('default = default_sect')).toBeLessThan(text.indexOf('tpm2 = tpm2_sect'));
    expect(text).toContain('module = /somewhere/tpm2.so');
    expect((await stat(path)).mode & 0o777).toBe(0o600);
  });
});
