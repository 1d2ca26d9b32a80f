import { readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Certificate } from '#ca/pkix/certificate.ts';
import { AUTHORITY_FILES, readCertificateFile } from './ceremony-files.ts';
import type { CaGenerationFolder } from './generation-folders.ts';

const NAME = /^discarded-\d{1,6}-[0-9a-f]{40}$/;
const SECRETS = [
  AUTHORITY_FILES.intermediateKey,
  AUTHORITY_FILES.passphrase,
  AUTHORITY_FILES.rootKey,
  AUTHORITY_FILES.rootPassphrase,
] as const;

/**
 * A generation that nobody has heard of is put aside and its keys are removed; the certificates stay, since the root has
 * signed them and may have to revoke them. Broken off after the rename, `clearDiscarded` finishes at the next start.
 */
export async function discardGeneration(dir: string, { dir: from, number, intermediate }: CaGenerationFolder) {
  const name = `discarded-${number}-${intermediate.subjectKeyId ?? ''}`;
  // First and in one step: a generation without its keys would keep the authority from starting.
  await rename(from, join(dir, AUTHORITY_FILES.generations, name));
  await clearDiscarded(dir);
}

/** Removes the keys of every discarded generation. */
export async function clearDiscarded(dir: string): Promise<void> {
  for (const folder of await listDiscarded(dir)) {
    for (const secret of SECRETS) await rm(join(folder, secret), { force: true });
  }
}

/** The intermediates of discarded generations. @throws AuthorityError AUTHORITY_FAILED */
export async function readDiscarded(dir: string): Promise<Certificate[]> {
  const folders = await listDiscarded(dir);
  return Promise.all(folders.map((folder) => readCertificateFile(folder, AUTHORITY_FILES.intermediateCertificate)));
}

async function listDiscarded(dir: string): Promise<string[]> {
  const folder = join(dir, AUTHORITY_FILES.generations);
  const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  return names.filter((name) => NAME.test(name)).map((name) => join(folder, name));
}
