import { join, resolve } from 'node:path';
import type { Logger } from 'pino';
import { openLocalAuthority } from '#ca/authority/local-authority.ts';
import { readAuthorityFolder } from '#ca/ceremony/authority-folder.ts';
import { AUTHORITY_FILES } from '#ca/ceremony/ceremony-files.ts';
import { clearDiscarded } from '#ca/ceremony/discard-generation.ts';
import { createFileIssuerStore, openGeneration } from '#ca/ceremony/file-issuer-store.ts';
import { type CaGenerationFolder, findIssuing, showIssuing } from '#ca/ceremony/generation-folders.ts';
import { useStatusUrl } from '#ca/ceremony/used-status-urls.ts';
import { type FileJournal, openFileJournal } from '#ca/keys/file-journal.ts';
import { keptListFiles } from '#ca/keys/kept-list-files.ts';
import { AuthorityError } from '#ca/ports/certificate-authority.ts';
import type { StoredIssuer } from '#ca/ports/issuer-store.ts';
import { type AuthorityServer, listenAuthority } from '#ca/socket/authority-server.ts';

export type ServeOptions = {
  dir: string;
  /** Path of the unix socket. */
  socket: string;
  /** Base URL of the status server; left out: certificates name no CRL. */
  statusUrl?: string;
  /** Lists that revocations are spread over; default 1, the whole list. */
  crlShards?: number;
  passphraseFile?: string;
  log: Logger;
  /**
   * Milliseconds that another authority on this folder is waited for: of a gateway that was killed, it may not have
   * noticed yet. Left out: not at all.
   */
  patienceMs?: number;
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
  const { dir, log, statusUrl, crlShards, onBroken, patienceMs = 0 } = options;
  const { trustDomain, generations } = await readAuthorityFolder(dir);
  const oldest = await openOldest(generations, options);
  const onHeld = () => log.info('the authority before has not ended yet');
  const journal = await openFileJournal(join(dir, AUTHORITY_FILES.journal), { onBroken, patienceMs, onHeld });
  if (journal.tornBytes > 0)
    log.warn({ bytes: journal.tornBytes }, 'journal had a torn end, cut off and kept beside it');
  let server: AuthorityServer;
  const socket = resolve(options.socket);
  try {
    // Under the lock: a power cut may have come between the two steps of an activation.
    await clearDiscarded(dir);
    if (generations.length > 1) await showIssuing(dir, await findIssuing(dir, generations));
    const formerStatusUrls = statusUrl === undefined ? [] : await useStatusUrl(dir, statusUrl, Date.now());
    const authority = await openLocalAuthority({
      ...oldest,
      successors: createFileIssuerStore(options),
      journal,
      lists: keptListFiles(join(dir, AUTHORITY_FILES.lists)),
      trustDomain,
      clock: Date.now,
      ...(statusUrl !== undefined && { statusUrl }),
      formerStatusUrls,
      ...(crlShards !== undefined && { crlShards }),
    });
    server = await listenAuthority(authority, { path: socket, log });
  } catch (error) {
    await journal.close();
    throw asAuthorityError(error);
  }
  return { trustDomain, socket, close: () => closeAll(server, journal) };
}

async function openOldest([oldest]: CaGenerationFolder[], options: ServeOptions): Promise<StoredIssuer> {
  if (oldest === undefined) throw new AuthorityError('AUTHORITY_FAILED', `there is no authority in ${options.dir}`);
  return openGeneration(oldest, options);
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
