import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Log } from '#gateway/ports/log.ts';

const AUTHORITY = fileURLToPath(new URL('../ca/main.ts', import.meta.url));
const MAX_RESTART_DELAY_MS = 10_000;
/** A process that lived this long did not fail at its start: the delay begins anew. */
const STABLE_MS = 30_000;
const STOP_PATIENCE_MS = 5_000;

export type AuthorityProcessOptions = { dir: string; socket: string; statusUrl: string; crlShards: number; log: Log };

/** Makes root and intermediate in a process of its own: the gateway's never sees a CA key. @throws Error with what it said */
export async function runCeremony(options: { dir: string; trustDomain: string }): Promise<void> {
  const child = spawn(
    process.execPath,
    [AUTHORITY, 'init', '--dir', options.dir, '--trust-domain', options.trustDomain],
    {
      stdio: ['ignore', 'ignore', 'pipe'],
    },
  );
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-4000);
  });
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`the CA could not be made in ${options.dir}: ${said.trim()}`);
}

/**
 * Keeps the authority running beside the gateway. It ends when the gateway ends, also when that is killed (its standard
 * input closes), and is started again when it dies, ever more slowly.
 */
export class AuthorityProcess {
  readonly #options: AuthorityProcessOptions;
  #child: ChildProcess | undefined;
  #stopping = false;
  #failures = 0;
  #restart: NodeJS.Timeout | undefined;

  constructor(options: AuthorityProcessOptions) {
    this.#options = options;
  }

  /** Resolves when the authority listens; rejects when its first start fails. */
  async start(): Promise<void> {
    await this.#spawn();
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    clearTimeout(this.#restart);
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const closed = once(child, 'close');
    child.kill('SIGTERM');
    const impatience = setTimeout(() => child.kill('SIGKILL'), STOP_PATIENCE_MS);
    await closed;
    clearTimeout(impatience);
  }

  async #spawn(): Promise<void> {
    const { dir, socket, statusUrl, crlShards, log } = this.#options;
    const status = ['--status-url', statusUrl, '--crl-shards', String(crlShards)];
    const args = [AUTHORITY, 'serve', '--dir', dir, '--socket', socket, ...status, '--with-parent'];
    const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    const started = Date.now();
    this.#child = child;
    child.once('close', (code, signal) => {
      if (this.#stopping) return;
      this.#failures = Date.now() - started > STABLE_MS ? 1 : this.#failures + 1;
      const delay = Math.min(MAX_RESTART_DELAY_MS, 100 * 2 ** Math.min(this.#failures - 1, 10));
      log.error('authority process ended, starting it again', { code, signal, delay });
      this.#restart = setTimeout(() => {
        this.#spawn().catch((error: unknown) => log.error('authority process did not start', { error: String(error) }));
      }, delay);
    });
    await new Promise<void>((resolve, reject) => {
      createInterface({ input: child.stdout }).once('line', () => resolve());
      child.once('error', reject);
      child.once('close', (code) =>
        reject(new Error(`the authority process ended with code ${code} before it was ready`)),
      );
    });
    log.info('authority process ready', { authorityPid: child.pid });
  }
}
