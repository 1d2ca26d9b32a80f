import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { writeDurableFile } from './durable-file.ts';
import { RuntimeError } from './runtime-error.ts';

/**
 * A P-256 key of the gateway itself (TLS, notices): PKCS#8 PEM, 0600, made when there is none.
 * @throws RuntimeError KEY_FILE_EXPOSED when others could read it, KEY_FILE_UNREADABLE when it is not a P-256 key.
 */
export async function loadOrCreateKey(path: string): Promise<KeyObject> {
  const existing = await loadKey(path);
  if (existing !== undefined) return existing;
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  await writeDurableFile(path, privateKey.export({ format: 'pem', type: 'pkcs8' }), 0o600);
  return privateKey;
}

async function loadKey(path: string): Promise<KeyObject | undefined> {
  let pem: string;
  try {
    const { mode } = await stat(path);
    if ((mode & 0o077) !== 0) {
      throw new RuntimeError(
        'KEY_FILE_EXPOSED',
        `others may read ${path}: run \`chmod 600\` on it, or delete it to have a new key made`,
      );
    }
    pem = await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    const key = createPrivateKey(pem);
    if (key.asymmetricKeyDetails?.namedCurve !== 'prime256v1') throw new TypeError('it is not a P-256 key');
    return key;
  } catch (cause) {
    throw new RuntimeError('KEY_FILE_UNREADABLE', `${path} is not a private key: delete it to have a new one made`, {
      cause,
    });
  }
}
