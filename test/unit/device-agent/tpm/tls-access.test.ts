import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkTlsAccess } from '#device-agent/tpm/check-tpm.ts';
import { chooseTlsAccess, findTlsAccess, type TlsAccessOffer } from '#device-agent/tpm/choose-tls-access.ts';
import { findPkcs11Parts } from '#device-agent/tpm/pkcs11-parts.ts';

const NEW = { module: '/lib/tpm2.so', version: '1.3.0', isUsable: true };
const OLD = { module: '/lib/tpm2.so', version: '1.1.1', isUsable: false };
const PARTS = { engine: '/lib/engines-3/pkcs11.so', module: '/lib/pkcs11/libtpm2_pkcs11.so' };
const NO_ENGINE = [
  {
    what: 'the PKCS#11 engine of OpenSSL is not installed',
    advice: 'Debian: apt-get install libengine-pkcs11-openssl',
  },
  { what: 'the program tpm2_ptool is not installed', advice: 'Debian: apt-get install libtpm2-pkcs11-tools' },
];
const BY_PROVIDER = { kind: 'provider', module: NEW.module };
const BY_PKCS11 = { kind: 'pkcs11', parts: PARTS };

describe('the way of TLS to a key in the TPM', () => {
  it.each<[string, TlsAccessOffer, unknown]>([
    ['the provider when it is new enough', { forced: undefined, provider: NEW, pkcs11: NO_ENGINE }, BY_PROVIDER],
    ['the provider also when PKCS#11 is there', { forced: undefined, provider: NEW, pkcs11: PARTS }, BY_PROVIDER],
    ['PKCS#11 when the provider is too old', { forced: undefined, provider: OLD, pkcs11: PARTS }, BY_PKCS11],
    ['PKCS#11 when there is no provider', { forced: undefined, provider: undefined, pkcs11: PARTS }, BY_PKCS11],
    ['PKCS#11 when the operator says so', { forced: 'pkcs11', provider: NEW, pkcs11: PARTS }, BY_PKCS11],
    ['the provider when the operator says so', { forced: 'provider', provider: NEW, pkcs11: PARTS }, BY_PROVIDER],
  ])('is %s', (_, offer, expected) => {
    expect(chooseTlsAccess(offer)).toEqual(expected);
  });

  it('is missed with what to install for either when there is none', () => {
    expect(() => chooseTlsAccess({ forced: undefined, provider: OLD, pkcs11: NO_ENGINE })).toThrow(
      expect.objectContaining({
        tpmCode: 'PROVIDER_UNFIT',
        message: expect.stringMatching(/too old: 1\.1\.1.*; and PKCS#11 cannot be used: .*engine/) as string,
        advice: expect.stringMatching(/tpm2-openssl.*; or .*libengine-pkcs11-openssl/) as string,
      }) as Error,
    );
  });

  it('is never another than the operator has named', () => {
    expect(() => chooseTlsAccess({ forced: 'pkcs11', provider: NEW, pkcs11: NO_ENGINE })).toThrow(/PKCS#11 cannot/);
    expect(() => chooseTlsAccess({ forced: 'provider', provider: OLD, pkcs11: PARTS })).toThrow(/too old/);
  });
});

describe('what `check` says of it', () => {
  it('names the way that is used', () => {
    expect(checkTlsAccess({ forced: undefined, provider: NEW, pkcs11: PARTS })).toEqual([
      { ok: true, what: 'the OpenSSL provider is 1.3.0 at /lib/tpm2.so' },
    ]);
    expect(checkTlsAccess({ forced: undefined, provider: OLD, pkcs11: PARTS })).toEqual([
      { ok: true, what: expect.stringContaining(PARTS.engine) as string },
    ]);
  });

  it('names each thing that is missing, for either way, with its package', () => {
    const findings = checkTlsAccess({ forced: undefined, provider: undefined, pkcs11: NO_ENGINE });
    expect(findings.map(({ ok }) => ok)).toEqual([false, false, false]);
    expect(findings.map(({ advice }) => /apt-get install ([\w-]+)/.exec(advice ?? '')?.[1])).toEqual([
      'tpm2-openssl',
      'libengine-pkcs11-openssl',
      'libtpm2-pkcs11-tools',
    ]);
  });

  it('names nothing of a way that the operator has ruled out', () => {
    expect(checkTlsAccess({ forced: 'provider', provider: undefined, pkcs11: NO_ENGINE })).toHaveLength(1);
    expect(checkTlsAccess({ forced: 'pkcs11', provider: undefined, pkcs11: NO_ENGINE })).toHaveLength(2);
  });
});

describe('what is found of it on a machine', () => {
  const before = { ...process.env };
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'gatehouse-access-'));
  });
  afterEach(async () => {
    for (const name of ['PATH', 'GATEHOUSE_TPM_TLS', 'GATEHOUSE_TPM2_PROVIDER']) {
      if (before[name] === undefined) delete process.env[name];
      else process.env[name] = before[name];
    }
    await rm(folder, { recursive: true, force: true });
  });

  it('misses a resource manager where the TPM is reached without one', async () => {
    const found = await findPkcs11Parts('swtpm:path=/run/tpm.sock');
    expect(found).toContainEqual(
      expect.objectContaining({ what: expect.stringContaining('resource manager') as string }),
    );
    for (const tcti of ['device:/dev/tpmrm0', 'tabrmd', 'tabrmd:bus_type=session']) {
      const behind = await findPkcs11Parts(tcti);
      expect(JSON.stringify(behind)).not.toContain('resource manager');
    }
  });

  it('misses tpm2_ptool by name and package', async () => {
    process.env['PATH'] = folder;
    expect(await findPkcs11Parts('tabrmd')).toContainEqual({
      what: 'the program tpm2_ptool is not installed',
      advice: 'Debian: apt-get install libtpm2-pkcs11-tools',
    });
    await writeFile(join(folder, 'tpm2_ptool'), '', { mode: 0o700 });
    expect(JSON.stringify(await findPkcs11Parts('tabrmd'))).not.toContain('tpm2_ptool');
  });

  it('takes the way from GATEHOUSE_TPM_TLS, and refuses a word that is none', async () => {
    delete process.env['GATEHOUSE_TPM_TLS'];
    expect(await findTlsAccess('tabrmd')).toMatchObject({ forced: undefined });
    process.env['GATEHOUSE_TPM_TLS'] = 'pkcs11';
    expect(await findTlsAccess('tabrmd')).toMatchObject({ forced: 'pkcs11' });
    process.env['GATEHOUSE_TPM_TLS'] = 'engine';
    await expect(findTlsAccess('tabrmd')).rejects.toMatchObject({ code: 'USAGE' });
  });
});
