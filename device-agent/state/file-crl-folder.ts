import { join } from 'node:path';
import { formatPem, parsePem } from '#ca/pkix/pem.ts';
import type { CrlDownload, CrlFolder } from '#device-agent/ports/crl-folder.ts';
import { type Disk, systemDisk } from './disk.ts';
import { LAYOUT } from './state-layout.ts';

/** Fetches a document into a file. */
export type FetchToFile = (
  url: string,
  path: string,
  options: { etag: string | undefined; maxBytes: number; signal: AbortSignal },
) => Promise<{ kind: 'unchanged' } | { kind: 'fetched'; etag: string | undefined }>;

const CRL_NAME = /^([0-9a-f]{2,128})\.crl$/;
const DOWNLOAD = '.download.crl';

/** `crl/` in the state folder. Every file is written beside, synced, renamed, and the folder synced. */
export class FileCrlFolder implements CrlFolder {
  readonly #state: string;
  readonly #fetch: FetchToFile;
  readonly #disk: Disk;

  constructor(state: string, fetch: FetchToFile, disk: Disk = systemDisk) {
    this.#state = state;
    this.#fetch = fetch;
    this.#disk = disk;
  }

  async readCrls(): Promise<Map<string, Buffer>> {
    const found = new Map<string, Buffer>();
    for (const name of await this.#disk.list(this.#folder)) {
      const keyId = CRL_NAME.exec(name)?.[1];
      const der = keyId === undefined ? undefined : await this.#disk.readFile(join(this.#folder, name));
      if (keyId !== undefined && der !== undefined) found.set(keyId, der);
    }
    return found;
  }

  async readIssuers(): Promise<Buffer[]> {
    const content = await this.#disk.readFile(join(this.#state, LAYOUT.crlIssuers));
    try {
      return content === undefined ? [] : parsePem(content.toString('utf8'), 'CERTIFICATE');
    } catch {
      return [];
    }
  }

  async readChosen(): Promise<string | undefined> {
    // A file of that name is from a version that kept one CRL only.
    const target = await this.#disk.readLink(join(this.#state, LAYOUT.crl)).catch(() => undefined);
    return CRL_NAME.exec(target ?? '')?.[1];
  }

  async download(
    url: string,
    options: { etag: string | undefined; maxBytes: number; signal: AbortSignal },
  ): Promise<CrlDownload> {
    await this.#makeFolder();
    const answer = await this.#fetch(url, this.#draft, options);
    if (answer.kind === 'unchanged') return answer;
    const der = await this.#disk.readFile(this.#draft);
    return { kind: 'fetched', der: der ?? Buffer.alloc(0), etag: answer.etag };
  }

  async accept(keyId: string): Promise<void> {
    await this.#disk.rename(this.#draft, join(this.#folder, `${keyId}.crl`));
    await this.#disk.syncFolder(this.#folder);
  }

  discard(): Promise<void> {
    return this.#disk.remove(this.#draft);
  }

  async choose(keyId: string): Promise<void> {
    const draft = join(this.#folder, '.current.crl');
    await this.#disk.remove(draft);
    await this.#disk.link(`${keyId}.crl`, draft);
    await this.#disk.rename(draft, join(this.#state, LAYOUT.crl));
    await this.#disk.syncFolder(this.#folder);
  }

  async remove(keyId: string): Promise<void> {
    if ((await this.readChosen()) === keyId) await this.#disk.remove(join(this.#state, LAYOUT.crl));
    await this.#disk.remove(join(this.#folder, `${keyId}.crl`));
    await this.#disk.syncFolder(this.#folder);
  }

  async writeTogether(crls: readonly Buffer[], issuers: readonly Buffer[]): Promise<void> {
    await this.#replace(LAYOUT.crlIssuers, issuers.map((der) => formatPem('CERTIFICATE', der)).join(''));
    await this.#replace(LAYOUT.crlsTogether, crls.map((der) => formatPem('X509 CRL', der)).join(''));
  }

  async readRevoked(): Promise<unknown> {
    const content = await this.#disk.readFile(join(this.#state, LAYOUT.revoked));
    try {
      return content === undefined ? undefined : JSON.parse(content.toString('utf8'));
    } catch {
      return undefined;
    }
  }

  writeRevoked(value: unknown): Promise<void> {
    return this.#replace(LAYOUT.revoked, `${JSON.stringify(value)}\n`);
  }

  /** @param name of LAYOUT, in `crl/` */
  async #replace(name: string, content: string): Promise<void> {
    await this.#makeFolder();
    const draft = join(this.#state, name.replace('/', '/.'));
    await this.#disk.writeFile(draft, Buffer.from(content), 0o644);
    await this.#disk.syncFile(draft);
    await this.#disk.rename(draft, join(this.#state, name));
    await this.#disk.syncFolder(this.#folder);
  }

  get #folder(): string {
    return join(this.#state, LAYOUT.crlFolder);
  }

  get #draft(): string {
    return join(this.#folder, DOWNLOAD);
  }

  async #makeFolder(): Promise<void> {
    await this.#disk.makeFolder(this.#folder);
    await this.#disk.syncFolder(this.#state);
  }
}
