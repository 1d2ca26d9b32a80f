import { randomBytes } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { makeExemptToken } from './exempt-token.ts';
import { runTpmTool } from './run-tpm-tool.ts';
import { TpmError, type TpmErrorCode } from './tpm-error.ts';
import { isTss2Pem, parseTss2Pem, tss2KeyName } from './tss2-key.ts';

/** Name of the one token in the store. */
const TOKEN = 'gatehouse';
/** Labels of the keys that are linked; the database of tpm2-pkcs11 beside it is only asked when one is to go. */
const LINKED = 'linked.json';
const PIN = 'pin';
/** It starts Python, which starts several tools; a discrete TPM makes an RSA key meanwhile. */
const TIMEOUT_MS = 300_000;

/** What a key of another TPM, or one that is damaged, fails with. Anything else is about the TPM and not about the key. */
const ABOUT_THE_KEY: TpmErrorCode[] = ['WRONG_TPM', 'NOTHING_THERE', 'AUTH_REFUSED', 'FAILED'];

/**
 * The store of tpm2-pkcs11, a folder of ours (0700): one token whose keys are the very ones of the state folder, linked
 * by their wrapped blobs. It holds nothing that is not elsewhere too, so one that is unfit is simply made anew.
 *
 * tpm2_ptool takes the PIN of the token as an argument, and hands what it derives from it to tpm2_unseal as one. That
 * gives nothing away: the keys have no password, so that the PIN opens nothing but a database in a folder that only its
 * owner may enter; and whoever may enter it, and use the TPM, can use the keys without it.
 */
export class Pkcs11Store {
  readonly folder: string;
  readonly #tcti: string;

  /** @param folder absolute path; made when it is missing, together with nothing above it. */
  constructor(folder: string, tcti: string) {
    this.folder = folder;
    this.#tcti = tcti;
  }

  /**
   * Links these keys and unlinks all others. A process that has opened the store before does not see it.
   * @param pems keys of the state folder; those that are no keys of a TPM are left out.
   * @returns by label, why a key could not be linked. @throws TpmError when that is not about a key
   */
  async hold(pems: string[]): Promise<Map<string, TpmError>> {
    const wanted = new Map(pems.filter(isTss2Pem).map((pem) => [labelOf(pem), pem]));
    const before = await this.#readLinked();
    const refused = await this.#update(wanted, before ?? (await this.#make()));
    if (before === undefined || refused.size === 0) return refused;
    // The token may be of the TPM that was here before.
    return this.#update(wanted, await this.#make());
  }

  /** RFC 7512, for OpenSSL's engine; the PIN by its file, since the engine writes this down when it fails. */
  uriOf(pem: string): string {
    const pin = join(this.folder, PIN).split('/').map(encodeURIComponent).join('/');
    return `pkcs11:token=${TOKEN};object=${labelOf(pem)};type=private;pin-source=file:${pin}`;
  }

  /** Makes the next `hold` begin anew. */
  discard(): Promise<void> {
    return rm(this.folder, { recursive: true, force: true });
  }

  async #update(wanted: Map<string, string>, linked: Set<string>): Promise<Map<string, TpmError>> {
    const refused = new Map<string, TpmError>();
    if ([...linked].some((label) => !wanted.has(label))) {
      for (const id of await this.#objectsBeside(wanted)) await this.#ptool('objdel', id);
      await this.#writeLinked([...linked].filter((label) => wanted.has(label)));
    }
    const held = new Set([...linked].filter((label) => wanted.has(label)));
    for (const [label, pem] of wanted) {
      if (held.has(label)) continue;
      try {
        await this.#link(label, pem);
        await this.#writeLinked([...held.add(label)]);
      } catch (error) {
        if (!(error instanceof TpmError) || !ABOUT_THE_KEY.includes(error.tpmCode)) throw error;
        refused.set(label, error);
      }
    }
    return refused;
  }

  async #link(label: string, pem: string): Promise<void> {
    const { publicArea, privateArea } = parseTss2Pem(pem);
    const [publicFile, privateFile] = [join(this.folder, 'key.pub'), join(this.folder, 'key.priv')];
    await writeFile(publicFile, publicArea, { mode: 0o600 });
    await writeFile(privateFile, privateArea, { mode: 0o600 });
    const pin = await readFile(join(this.folder, PIN), 'utf8');
    try {
      await this.#ptool(
        'link',
        '--label',
        TOKEN,
        '--userpin',
        pin,
        '--key-label',
        label,
        '--auth',
        '',
        publicFile,
        privateFile,
      );
    } finally {
      await rm(publicFile, { force: true });
      await rm(privateFile, { force: true });
    }
  }

  /** Ids, in the database, of the objects of all other keys. */
  async #objectsBeside(wanted: ReadonlyMap<string, string>): Promise<string[]> {
    const listed = await this.#ptool('listobjects', '--label', TOKEN);
    // YAML: one entry for each object, its own number last.
    return listed.split(/^- /m).flatMap((entry) => {
      const label = /^\s*CKA_LABEL: '?([^\s']+)/m.exec(entry)?.[1];
      const id = /^\s*id: (\d+)$/m.exec(entry)?.[1];
      return label !== undefined && id !== undefined && !wanted.has(label) ? [id] : [];
    });
  }

  /** A new token, in a folder that takes the place of the old one when it is complete. */
  async #make(): Promise<Set<string>> {
    const draft = `${this.folder}.new`;
    await rm(draft, { recursive: true, force: true });
    await mkdir(draft, { mode: 0o700 });
    // The engine reads no more than 31 characters.
    const pin = randomBytes(12).toString('hex');
    await writeFile(join(draft, PIN), pin, { mode: 0o600 });
    await makeExemptToken({ folder: draft, tcti: this.#tcti, label: TOKEN, pin, timeoutMs: TIMEOUT_MS });
    await writeFile(join(draft, LINKED), '[]', { mode: 0o600 });
    await this.discard();
    await rename(draft, this.folder);
    return new Set();
  }

  /** @returns undefined when there is no complete store. */
  async #readLinked(): Promise<Set<string> | undefined> {
    try {
      const labels: unknown = JSON.parse(await readFile(join(this.folder, LINKED), 'utf8'));
      return Array.isArray(labels) ? new Set(labels.filter((label) => typeof label === 'string')) : undefined;
    } catch {
      return undefined;
    }
  }

  async #writeLinked(labels: string[]): Promise<void> {
    const path = join(this.folder, LINKED);
    await writeFile(`${path}.new`, JSON.stringify(labels), { mode: 0o600 });
    await rename(`${path}.new`, path);
  }

  #ptool(command: string, ...args: string[]): Promise<string> {
    return runTpmTool({
      tool: 'tpm2_ptool',
      args: [command, '--path', this.folder, ...args],
      tcti: this.#tcti,
      folder: this.folder,
      timeoutMs: TIMEOUT_MS,
    });
  }
}

/** Of its Name, so that nothing has to be remembered of which object is which key. */
export function labelOf(pem: string): string {
  return `k${tss2KeyName(pem).slice(-40)}`;
}
