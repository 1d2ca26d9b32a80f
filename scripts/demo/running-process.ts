import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';

const KEPT_LINES = 40;
const PATIENCE_MS = 8000;

/** A process of the demo that stays up: its output in a log file, its last lines at hand, its end noticed. */
export class RunningProcess {
  readonly name: string;
  readonly #child: ChildProcess;
  readonly #ended: Promise<string>;
  #tail: string[] = [];
  #stopping = false;
  #end: string | undefined;

  /** @param args of Node: the program's file first. `logFile`: all it says, on both streams. */
  constructor(name: string, args: readonly string[], logFile: string, env: NodeJS.ProcessEnv = process.env) {
    this.name = name;
    // The channel closes when the demo dies in whatever way: who listens for that ends as well.
    this.#child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe', 'ipc'], env });
    const log = createWriteStream(logFile, { mode: 0o600 });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        log.write(chunk);
        this.#tail = [...this.#tail, ...chunk.toString().split('\n').filter(Boolean)].slice(-KEPT_LINES);
      });
    }
    this.#ended = new Promise((resolve) => {
      this.#child.on('error', (error) => resolve(error.message));
      this.#child.on('close', (code, signal) => {
        log.end();
        this.#end = signal ?? `exit code ${code}`;
        resolve(this.#end);
      });
    });
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** The last lines it said. */
  get tail(): readonly string[] {
    return this.#tail;
  }

  /** Rejects when the process ends although nobody stopped it; never resolves. */
  async failure(): Promise<never> {
    const end = await this.#ended;
    if (this.#stopping) return new Promise(() => {});
    throw new Error(`${this.name} ended by itself (${end})`);
  }

  /** Asks it to end, and makes it end when it does not. */
  async stop(): Promise<void> {
    this.#stopping = true;
    if (this.#end !== undefined) return;
    this.#child.kill('SIGTERM');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), PATIENCE_MS);
    await this.#ended;
    clearTimeout(timer);
  }
}
