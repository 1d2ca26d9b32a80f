import { access, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseEncryptedKey } from '#ca/keys/encrypted-key.ts';
import { createFileSigner } from '#ca/keys/file-signer.ts';
import { findPassphraseFile, readPassphrase } from '#ca/keys/passphrase.ts';
import { AuthorityError } from '#ca/ports/certificate-authority.ts';
import type { IssuerStore, StoredIssuer } from '#ca/ports/issuer-store.ts';
import type { Signer } from '#ca/ports/signer.ts';
import { AUTHORITY_FILES } from './ceremony-files.ts';
import { discardGeneration } from './discard-generation.ts';
import { type CaGenerationFolder, readGenerations, readIssuing, writeIssuing } from './generation-folders.ts';

export type KeyOptions = {
  dir: string;
  /** Passphrase of the issuing keys that have none of their own beside them. */
  passphraseFile?: string;
};

/** The generations in an authority's folder, with their keys. */
export function createFileIssuerStore(options: KeyOptions): IssuerStore {
  const { dir } = options;
  return {
    listAfter: async (number) => {
      const issuers: StoredIssuer[] = [];
      for (const generation of await readGenerations(dir, number))
        issuers.push(await openGeneration(generation, options));
      return issuers;
    },
    active: () => readIssuing(dir),
    activate: async (keyId) => {
      const generations = await readGenerations(dir);
      const wanted = generations.find(({ intermediate }) => intermediate.subjectKeyId === keyId);
      if (wanted === undefined) throw new AuthorityError('ISSUER_REFUSED', `there is no issuer ${keyId} in ${dir}`);
      await writeIssuing(dir, wanted);
    },
    discard: async (keyId) => {
      const generations = await readGenerations(dir);
      const unwanted = generations.find(({ intermediate }) => intermediate.subjectKeyId === keyId);
      if (unwanted !== undefined) await discardGeneration(dir, unwanted);
    },
  };
}

/** @throws AuthorityError AUTHORITY_FAILED when its key does not open */
export async function openGeneration(generation: CaGenerationFolder, options: KeyOptions): Promise<StoredIssuer> {
  const { number, root, intermediate, newWithOld, oldWithNew } = generation;
  const crossCertificates = [newWithOld, oldWithNew].filter((one) => one !== undefined);
  return { number, signer: await openSigner(generation.dir, options), root, intermediate, crossCertificates };
}

async function openSigner(generationDir: string, { dir, passphraseFile }: KeyOptions): Promise<Signer> {
  const own = join(generationDir, AUTHORITY_FILES.passphrase);
  const hasOwn = generationDir !== dir && (await isThere(own));
  const file = hasOwn
    ? { path: own, isCredential: false }
    : findPassphraseFile(process.env, {
        fallback: join(dir, AUTHORITY_FILES.passphrase),
        ...(passphraseFile !== undefined && { flag: passphraseFile }),
      });
  const passphrase = await readPassphrase(file);
  const path = join(generationDir, AUTHORITY_FILES.intermediateKey);
  const pem = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new AuthorityError('AUTHORITY_FAILED', `the key file ${path} cannot be read`, { cause });
  });
  return createFileSigner(parseEncryptedKey(pem, passphrase));
}

function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
