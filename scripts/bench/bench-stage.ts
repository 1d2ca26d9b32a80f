import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { DATA_FOLDER, type ReadyFile } from '#gateway/contract/data-folder.ts';
import type { DeviceAdded } from '#gateway/contract/operator-api.ts';
import { connectOperator, type OperatorClient } from '#scripts/command-line/operator-client.ts';
import { PROJECT_ROOT } from '#scripts/command-line/project-root.ts';
import { RunningProcess } from '#scripts/demo/running-process.ts';
import type { Target } from './load-jobs.ts';
import { LoadProcess } from './load-process.ts';
import { findMosquitto, Mosquitto } from './mosquitto.ts';

const START_MS = 60_000;

/** The processes of one run in a temporary folder: gateway (with its authority), load, and Mosquitto when wanted. */
export class BenchStage {
  readonly folder: string;
  readonly load: LoadProcess;
  readonly operator: OperatorClient;
  readonly ready: ReadyFile;
  readonly #gateway: RunningProcess;
  readonly #brokers: Mosquitto[] = [];
  readonly #free: string[] = [];
  /** Those who hold renewed certificates that they do not use: the gateway gives them no more. */
  readonly #renewed = new Set<string>();
  readonly #newcomers: string[] = [];
  #named = 0;

  private constructor(parts: Pick<BenchStage, 'folder' | 'load' | 'operator' | 'ready'>, gateway: RunningProcess) {
    this.folder = parts.folder;
    this.load = parts.load;
    this.operator = parts.operator;
    this.ready = parts.ready;
    this.#gateway = gateway;
  }

  /** @param options.profile folder for a CPU profile of the gateway, written when it ends. */
  static async open(options: { profile?: string | undefined }): Promise<BenchStage> {
    const folder = await mkdtemp(join(tmpdir(), 'gatehouse-bench-'));
    const readyFile = join(folder, 'ready.json');
    const dataDir = join(folder, 'data');
    const ports = ['--est-port', '--mqtt-port', '--status-port', '--operator-port'].flatMap((option) => [option, '0']);
    const where = ['--data', dataDir, '--host', '127.0.0.1', '--ready-file', readyFile];
    // The inspector opens only when asked by SIGUSR1, to collect garbage before memory is read.
    const profile = options.profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${options.profile}`];
    const args = [
      ...profile,
      '--inspect-port=127.0.0.1:0',
      join(PROJECT_ROOT, 'gateway', 'main.ts'),
      ...where,
      ...ports,
    ];
    const gateway = new RunningProcess('gateway', args, join(folder, 'gateway.log'));
    const failure = gateway.failure();
    failure.catch(() => {});
    const load = new LoadProcess();
    try {
      const ready = await Promise.race([readWhenThere(readyFile), failure]);
      return new BenchStage({ folder, load, ready, operator: await connectOperator(dataDir) }, gateway);
    } catch (error) {
      await Promise.all([load.stop(), gateway.stop()]);
      await rm(folder, { recursive: true, force: true });
      throw error;
    }
  }

  get gatewayPid(): number {
    return this.ready.pid;
  }

  /** What the gateway last said, for the address of its inspector. */
  get gatewayTail(): readonly string[] {
    return this.#gateway.tail;
  }

  get est(): Target {
    return { host: '127.0.0.1', port: this.ready.est.port, caFile: this.#anchor };
  }

  get mqtt(): Target {
    return { host: '127.0.0.1', port: this.ready.mqtt.port, caFile: this.#anchor };
  }

  get #anchor(): string {
    return join(this.ready.dataDir, DATA_FOLDER.intermediateCertificate);
  }

  /** Registers devices, in a new group if one is named, and has the load process make their keys. @returns their ids */
  async register(count: number, group?: string): Promise<string[]> {
    if (group !== undefined) await this.operator.call('addGroup', { body: { name: group, policy: {} } });
    const ids = Array.from(
      { length: count },
      (_, index) => `bench-${String(this.#named + index + 1).padStart(5, '0')}`,
    );
    this.#named += count;
    const tickets: { deviceId: string; ticket: string }[] = [];
    const rest = [...ids];
    const lane = async () => {
      for (let deviceId = rest.pop(); deviceId !== undefined; deviceId = rest.pop()) {
        const { ticket } = await this.operator.call<DeviceAdded>('addDevice', { body: { deviceId, group } });
        tickets.push({ deviceId, ticket });
      }
    };
    await Promise.all(Array.from({ length: 16 }, lane));
    await this.load.run({ kind: 'prepare', tickets });
    return ids;
  }

  /** So many devices with tickets that nobody has used: those that are left, and new ones. */
  async newcomers(count: number): Promise<string[]> {
    const missing = count - this.#newcomers.length;
    if (missing > 0) this.#newcomers.push(...(await this.register(missing)));
    return this.#newcomers.splice(0, count);
  }

  /** Of newcomers, those who are enrolled belong to nobody, and so do the tickets of the others. */
  enrolled(newcomers: readonly string[], enrolled: readonly string[]): void {
    const done = new Set(enrolled);
    this.release(enrolled);
    this.#newcomers.push(...newcomers.filter((deviceId) => !done.has(deviceId)));
  }

  /** Devices that have been enrolled on the way and belong to nobody. */
  release(deviceIds: readonly string[]): void {
    this.#free.push(...deviceIds);
  }

  /** So many enrolled devices, for one measurement: those that are free, and new ones. */
  async devices(count: number): Promise<string[]> {
    const renewed = this.#take(count, (deviceId) => this.#renewed.has(deviceId));
    return [...renewed, ...(await this.#notRenewed(count - renewed.length))];
  }

  /** So many that have not renewed yet, and will. */
  async devicesToRenew(count: number): Promise<string[]> {
    const deviceIds = await this.#notRenewed(count);
    for (const deviceId of deviceIds) this.#renewed.add(deviceId);
    return deviceIds;
  }

  async #notRenewed(count: number): Promise<string[]> {
    const found = this.#take(count, (deviceId) => !this.#renewed.has(deviceId));
    if (found.length === count) return found;
    const deviceIds = await this.register(count - found.length);
    await this.load.run({ kind: 'enroll', target: this.est, deviceIds, concurrency: 16 });
    return [...found, ...deviceIds];
  }

  #take(count: number, isWanted: (deviceId: string) => boolean): string[] {
    const taken = this.#free.filter(isWanted).slice(0, count);
    const gone = new Set(taken);
    this.#free.splice(0, this.#free.length, ...this.#free.filter((deviceId) => !gone.has(deviceId)));
    return taken;
  }

  /** undefined when Mosquitto is not installed. */
  async startMosquitto(options: { noDelay: boolean }): Promise<Mosquitto | undefined> {
    const file = findMosquitto();
    if (file === undefined) return undefined;
    const data = this.ready.dataDir;
    const keys = join(data, DATA_FOLDER.gatewayKeys);
    const tls = {
      root: join(data, DATA_FOLDER.rootCertificate),
      intermediate: join(data, DATA_FOLDER.intermediateCertificate),
      certificate: join(keys, 'server.pem'),
      key: join(keys, 'server.key.pem'),
    };
    const broker = await Mosquitto.start(file, this.folder, tls, options);
    this.#brokers.push(broker);
    return broker;
  }

  async close(): Promise<void> {
    await Promise.all([this.load.stop(), ...this.#brokers.map((broker) => broker.stop())]);
    await this.#gateway.stop();
    await rm(this.folder, { recursive: true, force: true });
  }
}

async function readWhenThere(file: string): Promise<ReadyFile> {
  const giveUp = performance.now() + START_MS;
  for (;;) {
    const text = await readFile(file, 'utf8').catch(() => '');
    if (text !== '') return JSON.parse(text) as ReadyFile;
    if (performance.now() > giveUp) throw new Error(`the gateway was not ready after ${START_MS / 1000} s`);
    await wait(50);
  }
}
