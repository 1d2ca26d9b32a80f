import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ReadyFile } from '#gateway/contract/data-folder.ts';
import type { DeviceDetail } from '#gateway/contract/operator-api.ts';
import { connectOperator, type OperatorClient } from '#scripts/command-line/operator-client.ts';
import { PROJECT_ROOT } from '#scripts/command-line/project-root.ts';
import { tpmEnvironment } from '#scripts/tpm/missing-tpm-parts.ts';
import { expect, expectSoon } from './expectation.ts';
import { type CommandResult, runCommand } from './run-command.ts';
import { RunningProcess } from './running-process.ts';

const GATEHOUSE = join(PROJECT_ROOT, 'scripts', 'gatehouse.ts');
const AGENT = join(PROJECT_ROOT, 'device-agent', 'main.ts');

// A device's daemon has nobody it should end with; in the demo it has.
const END_WITH_PARENT = import.meta.resolve('./end-with-parent.mjs');

/** The temporary folder, the processes and the commands of one demo. */
export class DemoStage {
  readonly folder: string;
  readonly dataDir: string;
  readonly processes: RunningProcess[] = [];
  readonly #environment = tpmEnvironment();
  /** Those under way: the folder is theirs until they have ended. */
  readonly #commands = new Set<Promise<CommandResult>>();
  readonly #signal: AbortSignal;
  #ready: ReadyFile | undefined;
  #operator: OperatorClient | undefined;

  /** @param signal aborted when the demo is to end: running commands are killed */
  constructor(folder: string, signal: AbortSignal) {
    this.folder = folder;
    this.dataDir = join(folder, 'data');
    this.#signal = signal;
  }

  /** What the gateway said about itself when it was ready. */
  get ready(): ReadyFile {
    if (!this.#ready) throw new Error('the gateway is not ready yet');
    return this.#ready;
  }

  stateDir(deviceId: string): string {
    return join(this.folder, 'agents', deviceId);
  }

  /** Starts the gateway (which starts its authority) on free loopback ports, and waits until it can serve. */
  async startGateway(): Promise<ReadyFile> {
    const readyFile = join(this.folder, 'ready.json');
    const ports = ['--est-port', '--mqtt-port', '--status-port', '--operator-port'].flatMap((option) => [option, '0']);
    const where = ['--data', this.dataDir, '--host', '127.0.0.1', '--ready-file', readyFile];
    const gateway = await this.#start('gateway', [GATEHOUSE, 'serve', ...where, ...ports]);
    const read = () => readFile(readyFile, 'utf8').catch(() => '');
    const text = await Promise.race([
      expectSoon('the ready file', read, (content) => content !== ''),
      gateway.failure(),
    ]);
    this.#ready = JSON.parse(text) as ReadyFile;
    this.#operator = await connectOperator(this.dataDir);
    return this.#ready;
  }

  /** Starts the daemon of a device. */
  async startAgent(deviceId: string): Promise<RunningProcess> {
    return this.#start(deviceId, ['--import', END_WITH_PARENT, AGENT, 'run', '--state', this.stateDir(deviceId)]);
  }

  /** A `gatehouse` command as an operator types it. @returns what it printed with `--json` */
  async gatehouse<T>(...args: string[]): Promise<T> {
    const command = [GATEHOUSE, ...args, '--data', this.dataDir, '--json'];
    const result = await this.#run(command);
    expect(result.exitCode === 0, `"gatehouse ${args.join(' ')}" to succeed`, describe(result));
    return JSON.parse(result.stdout) as T;
  }

  /** A `gatehouse-agent` command as it is typed on the device. */
  async agent(deviceId: string, ...args: string[]): Promise<CommandResult> {
    await mkdir(join(this.folder, 'agents'), { recursive: true });
    const command = [AGENT, ...args, '--state', this.stateDir(deviceId)];
    return this.#run(command);
  }

  /** The same, for commands that must succeed. @returns stdout */
  async agentOk(deviceId: string, ...args: string[]): Promise<string> {
    const result = await this.agent(deviceId, ...args);
    expect(result.exitCode === 0, `"gatehouse-agent ${args[0]}" of ${deviceId} to succeed`, describe(result));
    return result.stdout;
  }

  /** The gateway's view of a device, by the same socket that `gatehouse device show` uses, without its start-up time. */
  async device(deviceId: string): Promise<DeviceDetail> {
    return this.#connected().call<DeviceDetail>('showDevice', { params: [deviceId] });
  }

  /** Waits until the gateway's view of a device is as expected. */
  async deviceSoon(
    deviceId: string,
    expected: string,
    holds: (device: DeviceDetail) => boolean,
  ): Promise<DeviceDetail> {
    return expectSoon(expected, () => this.device(deviceId), holds);
  }

  operator(): OperatorClient {
    return this.#connected();
  }

  /** Stops the daemon of one device. */
  async stopAgent(deviceId: string): Promise<void> {
    await this.processes.find(({ name }) => name === deviceId)?.stop();
  }

  /** Ends all processes: the devices first, so that they see no dying gateway. Commands end by the signal. */
  async stop(): Promise<void> {
    const [gateway, ...agents] = this.processes;
    await Promise.all(agents.map((agent) => agent.stop()));
    await gateway?.stop();
    await Promise.allSettled(this.#commands);
  }

  async #run(command: readonly string[]): Promise<CommandResult> {
    const running = runCommand(process.execPath, command, { signal: this.#signal, env: this.#environment });
    this.#commands.add(running);
    return running.finally(() => this.#commands.delete(running));
  }

  #connected(): OperatorClient {
    if (!this.#operator) throw new Error('the gateway is not ready yet');
    return this.#operator;
  }

  async #start(name: string, args: readonly string[]): Promise<RunningProcess> {
    const logs = join(this.folder, 'logs');
    await mkdir(logs, { recursive: true });
    this.#signal.throwIfAborted();
    const started = new RunningProcess(name, args, join(logs, `${name}.log`), this.#environment);
    // Waited for where it matters; noticed by nobody else here, so it must not count as unhandled.
    started.failure().catch(() => undefined);
    this.processes.push(started);
    return started;
  }
}

function describe({ exitCode, stdout, stderr }: CommandResult): string {
  return `exit code ${exitCode}: ${(stderr || stdout).trim().split('\n').slice(-6).join(' | ')}`;
}
