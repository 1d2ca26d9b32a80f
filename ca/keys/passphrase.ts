import { randomBytes } from 'node:crypto';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { AuthorityError } from '#ca/ports/certificate-authority.ts';

/** Name of the systemd credential: `LoadCredentialEncrypted=gatehouse-ca-passphrase:...`. */
const CREDENTIAL = 'gatehouse-ca-passphrase';
const ENVIRONMENT = 'GATEHOUSE_CA_PASSPHRASE_FILE';
const MAX_PASSPHRASE_BYTES = 1024;

/**
 * Where the passphrase of the intermediate key is, first that is set: the file named by a flag, by the environment
 * variable GATEHOUSE_CA_PASSPHRASE_FILE, a systemd credential, the file the ceremony made. Never a passphrase itself on the
 * command line or in the environment: both can be read by others.
 */
export function findPassphraseFile(
  environment: NodeJS.ProcessEnv,
  options: { flag?: string; fallback: string },
): { path: string; isCredential: boolean } {
  if (options.flag !== undefined) return { path: options.flag, isCredential: false };
  const named = environment[ENVIRONMENT];
  if (named !== undefined && named !== '') return { path: named, isCredential: false };
  const credentials = environment['CREDENTIALS_DIRECTORY'];
  if (credentials !== undefined && credentials !== '')
    return { path: join(credentials, CREDENTIAL), isCredential: true };
  return { path: options.fallback, isCredential: false };
}

/**
 * The first line of the file.
 * @throws AuthorityError AUTHORITY_FAILED when it is missing, empty, or others may read it
 */
export async function readPassphrase(file: { path: string; isCredential: boolean }): Promise<string> {
  const { path, isCredential } = file;
  let handle: Awaited<ReturnType<typeof open>>;
  try {
    handle = await open(path, 'r');
  } catch (cause) {
    throw new AuthorityError('AUTHORITY_FAILED', `the passphrase file ${path} cannot be read`, { cause });
  }
  try {
    const { mode, size } = await handle.stat();
    // systemd guards its credentials by an access list, which shows as group bits.
    if (!isCredential && (mode & 0o077) !== 0) {
      throw new AuthorityError('AUTHORITY_FAILED', `others may read the passphrase file ${path}: chmod 600 it`);
    }
    if (size > MAX_PASSPHRASE_BYTES)
      throw new AuthorityError('AUTHORITY_FAILED', `the passphrase file ${path} is too large`);
    const [passphrase = ''] = (await handle.readFile('utf8')).split(/\r?\n/, 1);
    if (passphrase === '') throw new AuthorityError('AUTHORITY_FAILED', `the passphrase file ${path} is empty`);
    return passphrase;
  } finally {
    await handle.close();
  }
}

/** 256 random bits. */
export function createPassphrase(): string {
  return randomBytes(32).toString('base64url');
}
