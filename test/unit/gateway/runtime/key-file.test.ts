import { createPublicKey } from 'node:crypto';
import { chmod, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { parseCompactJws, verifyCompactJws } from '#ca/pkix/compact-jws.ts';
import { NOTICE_JWS_TYPE, type Notice, parseNotice } from '#gateway/contract/notice.ts';
import { loadCertificates, storeCertificates } from '#gateway/runtime/certificate-file.ts';
import { writeDurableFile } from '#gateway/runtime/durable-file.ts';
import { createNoticeSigner } from '#gateway/runtime/file-notice-signer.ts';
import { loadOrCreateKey } from '#gateway/runtime/key-file.ts';
import { nodeRandomness } from '#gateway/runtime/node-randomness.ts';

let folder: string;
let path: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keys-'));
  path = join(folder, 'tls.key');
});
afterEach(() => rm(folder, { recursive: true, force: true }));

test('makes a P-256 key that only its owner can read, and finds the same one again', async () => {
  const made = await loadOrCreateKey(path);
  expect(made.asymmetricKeyDetails?.namedCurve).toBe('prime256v1');
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  expect((await loadOrCreateKey(path)).equals(made)).toBe(true);
  expect(await readdir(folder)).toEqual(['tls.key']);
});

test('refuses a key that others may read', async () => {
  await loadOrCreateKey(path);
  await chmod(path, 0o640);
  await expect(loadOrCreateKey(path)).rejects.toMatchObject({ code: 'KEY_FILE_EXPOSED' });
});

test('refuses a broken key instead of replacing it', async () => {
  await writeFile(path, 'not a key', { mode: 0o600 });
  await expect(loadOrCreateKey(path)).rejects.toMatchObject({ code: 'KEY_FILE_UNREADABLE' });
});

test('keeps certificates in their order, and knows when there are none', async () => {
  const file = join(folder, 'chain.pem');
  expect(await loadCertificates(file)).toBeUndefined();
  await storeCertificates(file, [Buffer.from('leaf'), Buffer.from('issuer')]);
  expect((await loadCertificates(file))?.map(String)).toEqual(['leaf', 'issuer']);
  await writeFile(file, 'broken');
  await expect(loadCertificates(file)).rejects.toMatchObject({ code: 'CERTIFICATE_FILE_UNREADABLE' });
});

test('leaves the old file whole, and nothing beside it, when writing fails', async () => {
  await writeDurableFile(path, 'old', 0o600);
  await rm(folder, { recursive: true });
  await expect(writeDurableFile(path, 'new', 0o600)).rejects.toThrow();
  expect(await readdir(join(folder, '..')).then((names) => names.filter((name) => name.includes('.tmp')))).toEqual([]);
});

test('signs a notice so that its reader can check it by the certificate inside', async () => {
  const privateKey = await loadOrCreateKey(path);
  const signer = createNoticeSigner(() => ({ privateKey, certificates: [Buffer.from('leaf'), Buffer.from('issuer')] }));
  const notice: Notice = {
    version: 1,
    id: 'n-1',
    deviceId: 'press-07',
    seq: 7,
    issuedAt: 1,
    expiresAt: 2,
    kind: 'revoked',
    body: { serials: ['01'], reason: 'keyCompromise', advice: 'enroll again' },
  };
  const jws = parseCompactJws(signer.sign(notice));
  expect(jws.header.typ).toBe(NOTICE_JWS_TYPE);
  expect(jws.header.x5c.map(String)).toEqual(['leaf', 'issuer']);
  expect(verifyCompactJws(jws, createPublicKey(privateKey).export({ format: 'der', type: 'spki' }))).toBe(true);
  expect(parseNotice(jws.payload)).toEqual(notice);
});

test('makes ids and serial numbers of the promised form, each once', () => {
  const ids = new Set(Array.from({ length: 1000 }, () => nodeRandomness.id('a')));
  expect(ids.size).toBe(1000);
  for (const id of ids) expect(id).toMatch(/^a-[0-9a-f]{16}$/);
  for (let i = 0; i < 1000; i += 1) {
    expect(nodeRandomness.serialNumber()).toMatch(/^(?:0[1-9a-f]|[1-7][0-9a-f])[0-9a-f]{30}$/);
  }
});
