import { join } from 'node:path';
import type { CrlDownload, CrlFolder } from '#device-agent/ports/crl-folder.ts';
import { type Disk, systemDisk } from './disk.ts';
import { LAYOUT } from './state-layout.ts';

/** Fetches a document into a file. */
export type FetchToFile = (
  url: string,
  path: string,
  options: { etag: string | undefined; maxBytes: number; signal: AbortSignal },
) => Promise<{ kind: 'unchanged' } | { kind: 'fetched'; etag: string | undefined }>;

/** A CRL of a million entries; more would only fill the disk. */
const MAX_CRL_BYTES = 50 * 1024 * 1024;

/** `crl/` in the state folder. Every file is written beside, synced, renamed, and the folder synced. */
export class FileCrlFolder implements CrlFolder {
  readonly #state: string;
  readonly #folder: string;
  readonly #fetch: FetchToFile;
  readonly #disk: Disk;

  constructor(state: string, fetch: FetchToFile, disk: Disk = systemDisk) {
    this.#state = state;
    this.#folder = join(state, LAYOUT.crlFolder);
    this.#fetch = fetch;
    this.#disk = disk;
  }

  readCrl(): Promise<Buffer | undefined> {
    return this.#disk.readFile(join(this.#state, LAYOUT.crl));
  }

  async download(url: string, etag: string | undefined, signal: AbortSignal): Promise<CrlDownload> {
    await this.#makeFolder();
    const answer = await this.#fetch(url, this.#draft, { etag, maxBytes: MAX_CRL_BYTES, signal });
    if (answer.kind === 'unchanged') return answer;
    const der = await this.#disk.readFile(this.#draft);
    return { kind: 'fetched', der: der ?? Buffer.alloc(0), etag: answer.etag };
  }

  async accept(): Promise<void> {
    await this.#disk.rename(this.#draft, join(this.#state, LAYOUT.crl));
    await this.#disk.syncFolder(this.#folder);
  }

  discard(): Promise<void> {
    return this.#disk.remove(this.#draft);
  }

  async readRevoked(): Promise<unknown> {
    const content = await this.#disk.readFile(join(this.#state, LAYOUT.revoked));
    try {
      return content === undefined ? undefined : JSON.parse(content.toString('utf8'));
    } catch {
      return undefined;
    }
  }

  async writeRevoked(value: unknown): Promise<void> {
    await this.#makeFolder();
    const draft = join(this.#folder, '.revoked.json');
    await this.#disk.writeFile(draft, Buffer.from(`${JSON.stringify(value)}\n`), 0o644);
    await this.#disk.syncFile(draft);
    await this.#disk.rename(draft, join(this.#state, LAYOUT.revoked));
    await this.#disk.syncFolder(this.#folder);
  }

  get #draft(): string {
    return join(this.#folder, '.current.crl');
  }

  async #makeFolder(): Promise<void> {
    await this.#disk.makeFolder(this.#folder);
    await this.#disk.syncFolder(this.#state);
  }
}
