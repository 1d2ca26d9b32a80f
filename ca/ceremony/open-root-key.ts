import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseEncryptedKey } from '#ca/keys/encrypted-key.ts';
import { readPassphrase } from '#ca/keys/passphrase.ts';
import { AuthorityError } from '#ca/ports/certificate-authority.ts';
import { publicKeyOf } from './ca-certificate.ts';
import { AUTHORITY_FILES } from './ceremony-files.ts';
import type { CaGenerationFolder } from './generation-folders.ts';
import type { KeyedCa } from './make-ca.ts';

/** Where the root key is while a ceremony needs it; left out: where the ceremony before left it. */
export type RootKeyFiles = { rootKeyFile?: string; rootPassphraseFile?: string };

/**
 * The key of the root of this generation. It is offline but for the minutes of a ceremony.
 * @param dir of the authority @throws AuthorityError AUTHORITY_FAILED
 */
export async function openRootKey(
  dir: string,
  { root, dir: generationDir }: CaGenerationFolder,
  files: RootKeyFiles = {},
): Promise<KeyedCa> {
  const rootKeyFile = files.rootKeyFile ?? (await firstThere(AUTHORITY_FILES.rootKey, generationDir, dir));
  const passphraseFile =
    files.rootPassphraseFile ?? (await firstThere(AUTHORITY_FILES.rootPassphrase, generationDir, dir));
  const pem = await readFile(rootKeyFile, 'utf8').catch((cause: unknown) => {
    throw new AuthorityError(
      'AUTHORITY_FAILED',
      `the root key ${rootKeyFile} cannot be read: bring it back from where it is kept and name it with --root-key-file`,
      { cause },
    );
  });
  const privateKey = parseEncryptedKey(pem, await readPassphrase({ path: passphraseFile, isCredential: false }));
  if (!publicKeyOf(privateKey).equals(root.publicKey))
    throw new AuthorityError('AUTHORITY_FAILED', `${rootKeyFile} is not the key of the root in use`);
  return { certificate: root, privateKey };
}

/** A root stays over several generations: its key lies in the folder of the one it was made for. */
async function firstThere(name: string, ...folders: string[]): Promise<string> {
  for (const folder of folders) {
    const path = join(folder, name);
    if (
      await readFile(path).then(
        () => true,
        () => false,
      )
    )
      return path;
  }
  return join(folders.at(-1) ?? '', name);
}
