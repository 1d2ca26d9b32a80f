import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Logger } from 'pino';
import { openLocalAuthority } from '#ca/authority/local-authority.ts';
import { AUTHORITY_FILES, readAuthorityFolder } from '#ca/ceremony/authority-folder.ts';
import { parseEncryptedKey } from '#ca/keys/encrypted-key.ts';
import { type FileJournal, openFileJournal } from '#ca/keys/file-journal.ts';
import { createFileSigner } from '#ca/keys/file-signer.ts';
import { findPassphraseFile, readPassphrase } from '#ca/keys/passphrase.ts';
import { AuthorityError } from '#ca/ports/certificate-authority.ts';
import type { Signer } from '#ca/ports/signer.ts';
import { type AuthorityServer, listenAuthority } from '#ca/socket/authority-server.ts';

export type ServeOptions = {
  dir: string;
  /** Path of the unix socket. */
  socket: string;
  /** Base URL of the status server; left out: certificates name no CRL. */
  statusUrl?: string;
  passphraseFile?: string;
  log: Logger;
  /** Called when the journal cannot be written any more: this process must end and start again. */
  onBroken: (error: AuthorityError) => void;
};

export type RunningAuthority = { trustDomain: string; socket: string; close(): Promise<void> };

/**
 * Joins folder, key, journal and socket. The journal's lock is taken before the socket: two authorities on one folder
 * never both answer.
 * @throws AuthorityError
 */
export async function serveAuthority(options: ServeOptions): Promise<RunningAuthority> {
  const { dir, log, statusUrl, onBroken } = options;
  const { trustDomain, root, intermediate } = await readAuthorityFolder(dir);
  const signer = await openSigner(options);
  const journal = await openFileJournal(join(dir, AUTHORITY_FILES.journal), { onBroken });
  if (journal.tornBytes > 0)
    log.warn({ bytes: journal.tornBytes }, 'journal had a torn end, cut off and kept beside it');
  let server: AuthorityServer;
  const socket = resolve(options.socket);
  try {
    const authority = await openLocalAuthority({
      signer,
      journal,
      root,
      intermediate,
      trustDomain,
      clock: Date.now,
      ...(statusUrl !== undefined && { statusUrl }),
    });
    server = await listenAuthority(authority, { path: socket, log });
  } catch (error) {
    await journal.close();
    throw asAuthorityError(error);
  }
  return { trustDomain, socket, close: () => closeAll(server, journal) };
}

async function openSigner({ dir, passphraseFile }: ServeOptions): Promise<Signer> {
  const fallback = join(dir, AUTHORITY_FILES.passphrase);
  const file = findPassphraseFile(process.env, {
    fallback,
    ...(passphraseFile !== undefined && { flag: passphraseFile }),
  });
  const passphrase = await readPassphrase(file);
  const path = join(dir, AUTHORITY_FILES.intermediateKey);
  const pem = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new AuthorityError('AUTHORITY_FAILED', `the key file ${path} cannot be read`, { cause });
  });
  return createFileSigner(parseEncryptedKey(pem, passphrase));
}

function asAuthorityError(error: unknown): AuthorityError {
  if (error instanceof AuthorityError) return error;
  const message = error instanceof Error ? error.message : 'the authority cannot start';
  return new AuthorityError('AUTHORITY_FAILED', message, { cause: error });
}

async function closeAll(server: AuthorityServer, journal: FileJournal): Promise<void> {
  await server.close();
  await journal.close();
}
