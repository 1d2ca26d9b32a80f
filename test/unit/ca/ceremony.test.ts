import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readAuthorityFolder } from '#ca/ceremony/authority-folder.ts';
import { describeAuthorityFolder, exportCertificates } from '#ca/ceremony/describe-authority.ts';
import { initialiseAuthority } from '#ca/ceremony/initialise-authority.ts';
import { parseEncryptedKey } from '#ca/keys/encrypted-key.ts';
import { parsePem } from '#ca/pkix/pem.ts';
import { NOW } from '#test/fixtures/ca/certificates.ts';
import { toTestKey } from '#test/fixtures/ca/keys.ts';
import { tempFolder } from '#test/fixtures/ca/temp-folder.ts';

const YEAR = 365.25 * 24 * 3600 * 1000;

describe('ceremony', () => {
  it('leaves root, intermediate, encrypted keys and passphrases, the secret ones for the owner only', async () => {
    const dir = join(tempFolder(), 'ca');
    const made = await initialiseAuthority(dir, { now: NOW });
    const modes = Object.fromEntries(readdirSync(dir).map((name) => [name, statSync(join(dir, name)).mode & 0o777]));
    expect(modes).toEqual({
      'authority.json': 0o644,
      'intermediate.key.pem': 0o600,
      'intermediate.pem': 0o644,
      passphrase: 0o600,
      'root-passphrase': 0o600,
      'root.crl': 0o644,
      'root.key.pem': 0o600,
      'root.pem': 0o644,
    });
    expect(statSync(dir).mode & 0o777).toBe(0o700);

    const { root, intermediate, trustDomain, createdAt } = await readAuthorityFolder(dir);
    expect({ trustDomain, createdAt }).toEqual({ trustDomain: 'gatehouse.internal', createdAt: NOW });
    expect(made).toMatchObject({ rootSha256: root.sha256, intermediateSha256: intermediate.sha256, trustDomain });
    expect(root).toMatchObject({ isCa: true, keyUsage: new Set(['keyCertSign', 'cRLSign']) });
    expect(root.pathLength).toBeUndefined();
    expect(intermediate).toMatchObject({ isCa: true, pathLength: 0, keyUsage: new Set(['keyCertSign', 'cRLSign']) });
    expect(intermediate.authorityKeyId).toBe(root.subjectKeyId);
    expect(root.notAfter).toBe(NOW + 20 * YEAR);
    expect(intermediate.notAfter).toBe(NOW + 10 * YEAR);

    for (const [name, secret, certificate] of [
      ['root.key.pem', 'root-passphrase', root],
      ['intermediate.key.pem', 'passphrase', intermediate],
    ] as const) {
      const passphrase = readFileSync(join(dir, secret), 'utf8').trim();
      const key = parseEncryptedKey(readFileSync(join(dir, name), 'utf8'), passphrase);
      expect(toTestKey(key).spki).toEqual(certificate.publicKey);
    }
  });

  it.each([
    ['ec-p256', 'EC P-256'],
    ['ec-p384', 'EC P-384'],
    ['ed25519', 'Ed25519'],
    ['rsa-3072', 'RSA 3072'],
  ] as const)('makes an intermediate of %s that openssl verifies strictly', async (algorithm, description) => {
    const dir = join(tempFolder(), 'ca');
    await initialiseAuthority(dir, { algorithm, organization: 'Wörks', trustDomain: 'plant.example' });
    const shown = await describeAuthorityFolder(dir);
    expect(shown).toMatchObject({
      trustDomain: 'plant.example',
      root: { algorithm: 'EC P-384' },
      intermediate: { algorithm: description },
    });
    expect(shown.root.subject).toMatch(/^CN=Gatehouse Root CA [0-9a-f]{8},O=Wörks$/);
    const root = join(dir, 'root.pem');
    const args = ['verify', '-x509_strict', '-CAfile', root, root, join(dir, 'intermediate.pem')];
    expect(execFileSync('openssl', args).toString()).toBe(`${root}: OK\n${join(dir, 'intermediate.pem')}: OK\n`);
  });

  it('keeps no passphrase that somebody else keeps', async () => {
    const folder = tempFolder();
    const secret = join(folder, 'secret');
    writeFileSync(secret, 'correct horse\n', { mode: 0o600 });
    const dir = join(folder, 'ca');
    await initialiseAuthority(dir, { passphraseFile: secret, rootPassphraseFile: secret });
    expect(existsSync(join(dir, 'passphrase')) || existsSync(join(dir, 'root-passphrase'))).toBe(false);
    expect(() =>
      parseEncryptedKey(readFileSync(join(dir, 'intermediate.key.pem'), 'utf8'), 'correct horse'),
    ).not.toThrow();
  });

  it('never works over an authority that is there, and takes an empty folder', async () => {
    const dir = join(tempFolder(), 'ca');
    mkdirSync(dir);
    const { rootSha256 } = await initialiseAuthority(dir);
    await expect(initialiseAuthority(dir)).rejects.toThrow(/never over another/);
    expect((await readAuthorityFolder(dir)).root.sha256).toBe(rootSha256);
  });

  it('lets one of two that start together win, whole', async () => {
    const folder = tempFolder();
    const dir = join(folder, 'ca');
    const outcomes = await Promise.allSettled([initialiseAuthority(dir), initialiseAuthority(dir)]);
    const won = outcomes.filter((outcome) => outcome.status === 'fulfilled');
    expect(won).toHaveLength(1);
    expect((await readAuthorityFolder(dir)).root.sha256).toBe(won[0]?.value.rootSha256);
    expect(readdirSync(folder)).toEqual(['ca']);
  });

  it('clears away what a crashed one left long ago, and nothing younger', async () => {
    const folder = tempFolder();
    const [old, young] = [join(folder, '.ca.making-old'), join(folder, '.ca.making-young')];
    mkdirSync(old);
    mkdirSync(young);
    utimesSync(old, 1, 1);
    await initialiseAuthority(join(folder, 'ca'));
    expect([existsSync(old), existsSync(young)]).toEqual([false, true]);
  });

  it.each([
    ['a trust domain with capitals', { trustDomain: 'Plant' }],
    ['a trust domain with a slash', { trustDomain: 'a/b' }],
    ['an organization of 65 characters', { organization: 'x'.repeat(65) }],
    ['an organization with a line end', { organization: 'a\nb' }],
    ['an intermediate that outlives the root', { rootYears: 1, intermediateYears: 2 }],
  ])('refuses %s and leaves nothing behind', async (_what, options) => {
    const folder = tempFolder();
    await expect(initialiseAuthority(join(folder, 'ca'), options)).rejects.toMatchObject({ code: 'AUTHORITY_FAILED' });
    expect(readdirSync(folder)).toEqual([]);
  });

  it('refuses a passphrase file that others can read', async () => {
    const folder = tempFolder();
    const secret = join(folder, 'secret');
    writeFileSync(secret, 'x\n');
    chmodSync(secret, 0o644);
    await expect(initialiseAuthority(join(folder, 'ca'), { passphraseFile: secret })).rejects.toThrow(/chmod 600/);
  });

  it('exports certificates without a key or passphrase', async () => {
    const dir = join(tempFolder(), 'ca');
    await initialiseAuthority(dir);
    const { root, intermediate } = await readAuthorityFolder(dir);
    expect(parsePem(await exportCertificates(dir, 'chain'), 'CERTIFICATE')).toEqual([intermediate.der, root.der]);
    expect(parsePem(await exportCertificates(dir, 'root'), 'CERTIFICATE')).toEqual([root.der]);
  });

  it('is read back only when the intermediate is the root’s', async () => {
    const folder = tempFolder();
    await initialiseAuthority(join(folder, 'a'));
    await initialiseAuthority(join(folder, 'b'));
    writeFileSync(join(folder, 'a', 'intermediate.pem'), readFileSync(join(folder, 'b', 'intermediate.pem')));
    await expect(readAuthorityFolder(join(folder, 'a'))).rejects.toThrow(/not in order/);
    await expect(readAuthorityFolder(join(folder, 'c'))).rejects.toThrow(/gatehouse ca init/);
  });
});
