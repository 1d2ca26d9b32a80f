import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runTpmTool } from './run-tpm-tool.ts';

/**
 * One piece of work with the TPM at a time, and nothing left of it: its files are in a folder of its own (mode 0700)
 * that goes afterwards, and so do the objects and sessions that its tools left loaded. A TPM has three slots for
 * either; others may use it too, so only what appeared under our own hands is taken away.
 */
export class TpmWorkbench {
  readonly tcti: string;
  readonly #place: string | undefined;
  #queue: Promise<unknown> = Promise.resolve();

  /**
   * @param place absolute path of the folder to work in, which nobody else uses: what a killed run has left in it goes
   * at the next use. Left out: a new one each time.
   */
  constructor(tcti: string, place?: string) {
    this.tcti = tcti;
    this.#place = place;
  }

  /** @throws TpmError */
  use<T>(work: (bench: TpmBench) => Promise<T>): Promise<T> {
    const done = this.#queue.then(() => this.#useNow(work));
    this.#queue = done.catch(() => {});
    return done;
  }

  async #useNow<T>(work: (bench: TpmBench) => Promise<T>): Promise<T> {
    const folder = await makeFolder(this.#place);
    const bench = new TpmBench(this.tcti, folder);
    try {
      await bench.open();
      return await work(bench);
    } finally {
      await bench.close();
      await rm(folder, { recursive: true, force: true });
    }
  }
}

async function makeFolder(place: string | undefined): Promise<string> {
  if (place === undefined) return mkdtemp(join(tmpdir(), 'gatehouse-tpm-'));
  await rm(place, { recursive: true, force: true });
  await mkdir(place, { mode: 0o700 });
  return place;
}

/** A kernel or user space resource manager gives every connection slots of its own, and empties them at its end. */
export function hasResourceManager(tcti: string): boolean {
  return /^(tabrmd|device:\/dev\/tpmrm|device$)/.test(tcti);
}

type Loaded = { objects: string[]; sessions: string[] };

export class TpmBench {
  readonly tcti: string;
  readonly #folder: string;
  #before: Loaded = { objects: [], sessions: [] };
  #leftSession = false;

  constructor(tcti: string, folder: string) {
    this.tcti = tcti;
    this.#folder = folder;
  }

  async open(): Promise<void> {
    if (!hasResourceManager(this.tcti)) this.#before = await this.#listLoaded();
  }

  /**
   * Runs a program of tpm2-tools on files of this bench. @param command program and arguments, with single spaces; there
   * is no shell and no quoting. @throws TpmError
   */
  async run(command: string): Promise<void> {
    let failed = true;
    try {
      await this.#tool(command);
      failed = false;
    } finally {
      if (failed) this.#leftSession = true;
      // A tool that saves or loads an object's context leaves the object in its slot; one that fails may leave anything.
      if (failed || command.includes('.ctx')) await this.#flushObjects();
    }
  }

  /** A tool that only prints. @returns its stdout. @throws TpmError */
  ask(command: string): Promise<string> {
    return this.#tool(command);
  }

  write(name: string, content: Uint8Array): Promise<void> {
    return writeFile(join(this.#folder, name), content, { mode: 0o600 });
  }

  read(name: string): Promise<Buffer> {
    return readFile(join(this.#folder, name));
  }

  /** Handles of a kind, e.g. `handles-persistent`, as the tools write them: `0x81000001`. */
  async handles(kind: string): Promise<string[]> {
    const printed = await this.ask(`tpm2_getcap ${kind}`);
    return [...printed.matchAll(/0x[0-9a-f]+/gi)].map(([handle]) => handle.toLowerCase());
  }

  async close(): Promise<void> {
    if (!this.#leftSession || hasResourceManager(this.tcti)) return;
    await this.#quietly(async () => {
      const { sessions } = await this.#listLoaded();
      await this.#flush(sessions.filter((handle) => !this.#before.sessions.includes(handle)));
    });
  }

  async #flushObjects(): Promise<void> {
    if (hasResourceManager(this.tcti)) return;
    await this.#quietly(async () => {
      const objects = await this.handles('handles-transient');
      await this.#flush(objects.filter((handle) => !this.#before.objects.includes(handle)));
    });
  }

  async #listLoaded(): Promise<Loaded> {
    return {
      objects: await this.handles('handles-transient'),
      sessions: await this.handles('handles-loaded-session'),
    };
  }

  async #flush(handles: string[]): Promise<void> {
    for (const handle of handles) await this.#tool(`tpm2_flushcontext ${handle}`);
  }

  /** Cleaning up never hides what went wrong before it, and the next work finds what was left. */
  async #quietly(cleaning: () => Promise<void>): Promise<void> {
    await cleaning().catch(() => {});
  }

  #tool(command: string): Promise<string> {
    const [tool = '', ...args] = command.split(' ');
    return runTpmTool({ tool, args, tcti: this.tcti, folder: this.#folder });
  }
}
