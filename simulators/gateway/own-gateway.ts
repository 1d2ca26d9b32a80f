import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { SimulatorError } from '#simulators/simulator-error.ts';
import { type FoundGateway, findGatewayByReadyFile } from './find-gateway.ts';

const GATEWAY = join(dirname(dirname(import.meta.dirname)), 'gateway', 'main.ts');
const START_MS = 60_000;
const STOP_MS = 15_000;

/** A real gateway process on free loopback ports with its data in a temporary folder, for as long as the run lasts. */
export class OwnGateway {
  readonly #child: ChildProcess;
  readonly #ended: Promise<string>;
  readonly folder: string;

  private constructor(child: ChildProcess, folder: string) {
    this.#child = child;
    this.folder = folder;
    this.#ended = new Promise((resolve) => {
      child.on('error', (error) => resolve(error.message));
      child.on('exit', (code, signal) => resolve(signal ?? `exit code ${code}`));
    });
  }

  static async start(signal: AbortSignal): Promise<{ gateway: OwnGateway; found: FoundGateway }> {
    const folder = await mkdtemp(join(tmpdir(), 'gatehouse-simulate-'));
    const readyFile = join(folder, 'ready.json');
    const log = openSync(join(folder, 'gateway.log'), 'w', 0o600);
    const ports = ['--est-port', '--mqtt-port', '--status-port', '--operator-port'].flatMap((option) => [option, '0']);
    const args = [GATEWAY, '--data', join(folder, 'data'), '--host', '127.0.0.1', '--ready-file', readyFile, ...ports];
    // A group of its own: Ctrl-C is for us, who then end it in order. The channel ends it should we die.
    const child = spawn(process.execPath, args, { stdio: ['ignore', log, log, 'ipc'], detached: true });
    closeSync(log);
    const gateway = new OwnGateway(child, folder);
    try {
      await gateway.#waitUntilReady(readyFile, signal);
      return { gateway, found: await findGatewayByReadyFile(readyFile) };
    } catch (error) {
      await gateway.stop({ keep: false });
      throw error;
    }
  }

  /** @param options.keep leaves the folder with the data and the log. */
  async stop(options: { keep: boolean }): Promise<void> {
    this.#child.kill('SIGTERM');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), STOP_MS);
    await this.#ended;
    clearTimeout(timer);
    if (!options.keep) await rm(this.folder, { recursive: true, force: true });
  }

  async #waitUntilReady(readyFile: string, signal: AbortSignal): Promise<void> {
    const giveUp = performance.now() + START_MS;
    const ended = this.#ended.then((how) => {
      throw new SimulatorError('GATEWAY_START_FAILED', `the gateway ended at its start (${how})`);
    });
    const ready = async () => {
      while ((await readFile(readyFile, 'utf8').catch(() => '')) === '') {
        if (signal.aborted) throw new SimulatorError('INTERRUPTED', 'stopped while the gateway started');
        if (performance.now() > giveUp)
          throw new SimulatorError('GATEWAY_START_FAILED', `the gateway was not ready after ${START_MS / 1000} s`);
        await wait(50);
      }
    };
    try {
      await Promise.race([ready(), ended]);
    } catch (error) {
      const log = await readFile(join(this.folder, 'gateway.log'), 'utf8').catch(() => '');
      if (error instanceof SimulatorError && error.code === 'GATEWAY_START_FAILED') {
        throw new SimulatorError(error.code, `${error.message}\n${log.trim().split('\n').slice(-5).join('\n')}`, {
          advice: 'run `gatehouse doctor`, or start a gateway yourself and name it with --gateway DIR',
        });
      }
      throw error;
    }
  }
}
