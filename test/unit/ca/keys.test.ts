import { execFileSync } from 'node:child_process';
import { createPrivateKey } from 'node:crypto';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatEncryptedKey, parseEncryptedKey } from '#ca/keys/encrypted-key.ts';
import { takeExclusiveLock } from '#ca/keys/exclusive-lock.ts';
import { createFileSigner } from '#ca/keys/file-signer.ts';
import { findPassphraseFile, readPassphrase } from '#ca/keys/passphrase.ts';
import { SerialIndex } from '#ca/keys/serial-index.ts';
import { formatSerialNumber } from '#ca/pkix/serial-number.ts';
import { formatSignatureAlgorithm, isSignatureValid } from '#ca/pkix/signature-algorithm.ts';
import { makeKey, makeRsaKey } from '#test/fixtures/ca/keys.ts';
import { tempFolder } from '#test/fixtures/ca/temp-folder.ts';

describe('encrypted keys', () => {
  it.each(['ec-p256', 'ec-p384', 'ed25519', 'rsa-3072'] as const)(
    'of %s open with the passphrase in node and openssl',
    async (kind) => {
      const key = makeKey(kind);
      const pem = await formatEncryptedKey(key.privateKey, 'a passphrase');
      expect(parseEncryptedKey(pem, 'a passphrase').equals(key.privateKey)).toBe(true);
      const dir = tempFolder();
      writeFileSync(join(dir, 'key.pem'), pem);
      writeFileSync(join(dir, 'passphrase'), 'a passphrase\n', { mode: 0o600 });
      const args = ['pkey', '-in', join(dir, 'key.pem'), '-passin', `file:${join(dir, 'passphrase')}`];
      expect(createPrivateKey(execFileSync('openssl', args)).equals(key.privateKey)).toBe(true);
    },
  );

  it('are PBES2 with scrypt and AES-256-CBC', async () => {
    const dir = tempFolder();
    writeFileSync(join(dir, 'key.pem'), await formatEncryptedKey(makeKey().privateKey, 'x'));
    const shown = execFileSync('openssl', ['asn1parse', '-in', join(dir, 'key.pem')]).toString();
    expect(shown).toMatch(/PBES2[^]*scrypt[^]*INTEGER\s*:4000[^]*INTEGER\s*:08[^]*INTEGER\s*:05[^]*aes-256-cbc/);
  });

  it('do not open with another passphrase', async () => {
    const pem = await formatEncryptedKey(makeKey().privateKey, 'right');
    expect(() => parseEncryptedKey(pem, 'wrong')).toThrow(/does not open/);
  });

  it('in the clear are refused', () => {
    const pem = makeKey().privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
    expect(() => parseEncryptedKey(pem, '')).toThrow(/no encrypted private key/);
  });
});

describe('file signer', () => {
  it.each([
    ['ec-p256', 'ecdsa-sha256'],
    ['ec-p384', 'ecdsa-sha384'],
    ['ed25519', 'ed25519'],
    ['rsa-2048', 'rsa-sha256'],
  ] as const)('with %s signs %s', async (kind, algorithm) => {
    const key = makeKey(kind);
    const signer = createFileSigner(key.privateKey);
    expect(signer.algorithm).toBe(algorithm);
    expect(signer.publicKey).toEqual(key.spki);
    const message = Buffer.from('message');
    const signature = await signer.sign(message);
    expect(isSignatureValid(formatSignatureAlgorithm(algorithm), message, signature, key.spki)).toBe(true);
  });

  it('refuses RSA of 1024 bits', () => {
    expect(() => createFileSigner(makeRsaKey(1024).privateKey)).toThrow(/RSA 1024/);
  });
});

describe('passphrase', () => {
  it('is the first line of a file of one’s own', async () => {
    expect(await readPassphrase(file('secret\r\nnote\n'))).toBe('secret');
  });

  it.each([0o640, 0o604, 0o660, 0o644])('in a file of mode %o is refused', async (mode) => {
    await expect(readPassphrase(file('secret', mode))).rejects.toThrow(/chmod 600/);
  });

  it('in a systemd credential may show the group bit of its access list', async () => {
    expect(await readPassphrase({ ...file('secret', 0o440), isCredential: true })).toBe('secret');
  });

  it('that is empty or missing is refused with the path', async () => {
    await expect(readPassphrase(file('\n'))).rejects.toThrow(/passphrase is empty/);
    await expect(readPassphrase({ path: '/does/not/exist', isCredential: false })).rejects.toThrow('/does/not/exist');
  });

  it.each([
    [
      'the flag',
      { flag: '/flag' },
      { GATEHOUSE_CA_PASSPHRASE_FILE: '/named', CREDENTIALS_DIRECTORY: '/run/c' },
      '/flag',
    ],
    ['the environment', {}, { GATEHOUSE_CA_PASSPHRASE_FILE: '/named', CREDENTIALS_DIRECTORY: '/run/c' }, '/named'],
    ['systemd', {}, { CREDENTIALS_DIRECTORY: '/run/c' }, '/run/c/gatehouse-ca-passphrase'],
    ['the folder', {}, {}, '/dir/passphrase'],
  ])('is looked for where %s says', (_who, options, environment, path) => {
    expect(findPassphraseFile(environment, { fallback: '/dir/passphrase', ...options }).path).toBe(path);
  });
});

describe('exclusive lock', () => {
  it('is held once, also inside one process, until released', () => {
    const path = join(tempFolder(), 'lock');
    const lock = takeExclusiveLock(path);
    expect(() => takeExclusiveLock(path)).toThrow(/another authority/);
    lock.release();
    takeExclusiveLock(path).release();
  });

  it('says so when the folder is not there', () => {
    mkdirSync(join(tempFolder(), 'a'));
    expect(() => takeExclusiveLock('/does/not/exist/lock')).toThrow();
  });
});

describe('serial index', () => {
  it('behaves like a Map, over its growth', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.uint8Array({ minLength: 16, maxLength: 16 }), fc.nat(2 ** 40)), { maxLength: 50 }),
        (pairs) => {
          const index = new SerialIndex();
          const map = new Map();
          for (const [random, offset] of pairs) {
            const serial = formatSerialNumber(random);
            index.set(serial, offset);
            map.set(serial, offset);
            expect(index.get(serial)).toBe(offset);
          }
          expect(index.size).toBe(map.size);
          for (const [serial, offset] of map) expect(index.get(serial)).toBe(offset);
        },
      ),
    );
    const index = new SerialIndex();
    const serials = Array.from({ length: 20_000 }, (_, i) =>
      formatSerialNumber(Buffer.from(i.toString(16).padStart(32, '0'), 'hex')),
    );
    for (const [offset, serial] of serials.entries()) index.set(serial, offset);
    expect(serials.map((serial) => index.get(serial))).toEqual(serials.map((_, offset) => offset));
    expect(index.get(formatSerialNumber(Buffer.alloc(16, 0x55)))).toBeUndefined();
  });
});

function file(content: string, mode = 0o600): { path: string; isCredential: boolean } {
  const path = join(tempFolder(), 'passphrase');
  writeFileSync(path, content);
  chmodSync(path, mode);
  return { path, isCredential: false };
}
