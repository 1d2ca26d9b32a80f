import { join } from 'node:path';
import { formatPem, parsePem } from '#ca/pkix/pem.ts';
import { AgentError } from '#device-agent/domain/agent-error.ts';
import type { RecordName, StateStore, StoredGeneration } from '#device-agent/ports/state-store.ts';
import { type Disk, systemDisk } from './disk.ts';
import { LAYOUT, RECORD_FILES } from './state-layout.ts';

const SECRET = 0o600;

/**
 * The state folder. Every file is replaced by a synced temporary one and a rename; a generation appears by the rename
 * of a complete folder, and becomes current by the rename of one symlink. So after a power cut at any step a reader
 * sees either what was or what is to be. Leftovers have names that no reader looks at.
 */
export class FileStateStore implements StateStore {
  readonly #folder: string;
  readonly #disk: Disk;

  constructor(folder: string, disk: Disk = systemDisk) {
    this.#folder = folder;
    this.#disk = disk;
  }

  async readRecord(name: RecordName): Promise<unknown> {
    const content = await this.#disk.readFile(this.#path(RECORD_FILES[name]));
    return content === undefined ? undefined : parseJson(content);
  }

  writeRecord(name: RecordName, value: unknown): Promise<void> {
    return this.#replace(this.#folder, RECORD_FILES[name], `${JSON.stringify(value, null, 2)}\n`, SECRET);
  }

  async readTrust(): Promise<Buffer[]> {
    const content = await this.#disk.readFile(this.#path(LAYOUT.trust));
    return content === undefined ? [] : readCertificates(content, LAYOUT.trust);
  }

  writeTrust(anchors: Buffer[]): Promise<void> {
    return this.#replace(this.#folder, LAYOUT.trust, formatCertificates(anchors), 0o644);
  }

  async listGenerations(): Promise<number[]> {
    const names = await this.#disk.list(this.#path(LAYOUT.generations));
    const numbers = names.filter((name) => /^\d{1,9}$/.test(name)).map(Number);
    return numbers.toSorted((a, b) => a - b);
  }

  async readGeneration(number: number): Promise<StoredGeneration | undefined> {
    const folder = this.#generation(number);
    const key = await this.#disk.readFile(join(folder, LAYOUT.key));
    if (key === undefined) return undefined;
    const certificates = await this.#disk.readFile(join(folder, LAYOUT.certificate));
    const meta = await this.#disk.readFile(join(folder, LAYOUT.meta));
    return {
      number,
      key: key.toString('utf8'),
      certificates: certificates === undefined ? [] : readCertificates(certificates, join(folder, LAYOUT.certificate)),
      meta: meta === undefined ? undefined : parseJson(meta),
    };
  }

  async currentGeneration(): Promise<number | undefined> {
    const target = await this.#disk.readLink(this.#path(LAYOUT.current));
    const number = /^generations\/(\d{1,9})$/.exec(target ?? '')?.[1];
    return number === undefined ? undefined : Number(number);
  }

  async addGeneration(key: string, meta: unknown): Promise<number> {
    const generations = this.#path(LAYOUT.generations);
    const draft = join(generations, '.draft');
    await this.#disk.makeFolder(generations);
    await this.#disk.syncFolder(this.#folder);
    for (const name of await this.#disk.list(generations)) {
      if (name.startsWith('.')) await this.#disk.remove(join(generations, name));
    }
    const number = ((await this.listGenerations()).at(-1) ?? 0) + 1;
    await this.#disk.makeFolder(draft);
    await this.#write(join(draft, LAYOUT.key), key, SECRET);
    await this.#write(join(draft, LAYOUT.meta), `${JSON.stringify(meta)}\n`, SECRET);
    await this.#disk.syncFolder(draft);
    await this.#disk.rename(draft, this.#generation(number));
    await this.#disk.syncFolder(generations);
    return number;
  }

  async completeGeneration(number: number, certificates: Buffer[], meta: unknown): Promise<void> {
    const folder = this.#generation(number);
    await this.#replace(folder, LAYOUT.meta, `${JSON.stringify(meta)}\n`, SECRET);
    // Last: its presence means that the generation is complete.
    await this.#replace(folder, LAYOUT.certificate, formatCertificates(certificates), 0o644);
  }

  async switchTo(number: number): Promise<void> {
    const draft = this.#path(`.${LAYOUT.current}`);
    await this.#disk.remove(draft);
    await this.#disk.link(`${LAYOUT.generations}/${number}`, draft);
    await this.#disk.rename(draft, this.#path(LAYOUT.current));
    await this.#disk.syncFolder(this.#folder);
  }

  async removeGeneration(number: number): Promise<void> {
    if ((await this.currentGeneration()) === number)
      throw new AgentError('STATE_BROKEN', 'the current generation stays');
    const generations = this.#path(LAYOUT.generations);
    const doomed = join(generations, `.removed-${number}`);
    await this.#disk.remove(doomed);
    await this.#disk.rename(this.#generation(number), doomed);
    await this.#disk.syncFolder(generations);
    await this.#disk.remove(doomed);
  }

  async #replace(folder: string, name: string, content: string, mode: number): Promise<void> {
    const draft = join(folder, `.${name}`);
    await this.#write(draft, content, mode);
    await this.#disk.rename(draft, join(folder, name));
    await this.#disk.syncFolder(folder);
  }

  async #write(path: string, content: string, mode: number): Promise<void> {
    await this.#disk.writeFile(path, Buffer.from(content, 'utf8'), mode);
    await this.#disk.syncFile(path);
  }

  #path(name: string): string {
    return join(this.#folder, name);
  }

  #generation(number: number): string {
    return join(this.#folder, LAYOUT.generations, String(number));
  }
}

function formatCertificates(certificates: Buffer[]): string {
  return certificates.map((der) => formatPem('CERTIFICATE', der)).join('');
}

function readCertificates(content: Buffer, what: string): Buffer[] {
  try {
    return parsePem(content.toString('utf8'), 'CERTIFICATE');
  } catch (cause) {
    throw new AgentError('STATE_BROKEN', `${what} is damaged`, { cause, advice: 'restore the file, or enroll again' });
  }
}

function parseJson(content: Buffer): unknown {
  try {
    return JSON.parse(content.toString('utf8'));
  } catch {
    return undefined;
  }
}
