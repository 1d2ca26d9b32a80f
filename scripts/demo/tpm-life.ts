import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { DeviceAdded, TpmRootSummary } from '#gateway/contract/operator-api.ts';
import { describeMissing, missingTpmParts } from '#scripts/tpm/missing-tpm-parts.ts';
import type { SoftwareTpm } from '#scripts/tpm/software-tpm.ts';
import { createTpmMaker, type TpmMaker } from '#scripts/tpm/tpm-maker.ts';
import type { DemoStage } from './demo-stage.ts';
import { expect } from './expectation.ts';
import { readTelemetry } from './read-telemetry.ts';
import { formatSeconds } from './timeline.ts';

export const PUMP = 'pump-17';
const GROUP = 'endorsed';
/** Exit code of `gatehouse-agent` when it is the gateway that says no. */
const REFUSED = 3;

type Prepared = { tpm: SoftwareTpm; pinned: TpmRootSummary[] };

/** The device with a TPM: a software TPM (swtpm) whose maker's certificate authority is here, too. */
export class TpmLife {
  readonly #maker: Promise<TpmMaker>;
  #joinUrl = '';
  #prepared: Promise<Prepared> = Promise.reject(new Error('the device with a TPM is not registered'));

  private constructor(maker: Promise<TpmMaker>) {
    this.#maker = maker;
    this.#prepared.catch(() => {});
  }

  /** The maker begins at once, beside the first steps. @returns why not, where a TPM cannot be shown */
  static async begin(folder: string): Promise<TpmLife | string> {
    const missing = missingTpmParts();
    if (missing.length > 0) return describeMissing('a device with a TPM', missing);
    const own = join(folder, 'tpm');
    await mkdir(own);
    const maker = createTpmMaker(own);
    // Waited for where it is needed.
    maker.catch(() => {});
    return new TpmLife(maker);
  }

  /** A group that takes nothing but proved keys, and the device in it. */
  async register(stage: DemoStage): Promise<{ group: string; fact: string }> {
    await stage.gatehouse('group', 'add', GROUP, '--proof', 'tpm-endorsed');
    this.#joinUrl = (await stage.gatehouse<DeviceAdded>('device', 'add', PUMP, '--group', GROUP)).joinUrl;
    this.#prepared = this.#prepare(stage);
    // Waited for where it is needed.
    this.#prepared.catch(() => {});
    return { group: GROUP, fact: `${PUMP} in group ${GROUP}, which requires proof level tpm-endorsed` };
  }

  /** Enrolled, connected and read with a key in the TPM. @returns what was verified */
  async join(stage: DemoStage, reader: string): Promise<string[]> {
    const { tpm, pinned } = await this.#prepared;
    const startedAt = performance.now();
    await stage.agentOk(PUMP, 'enroll', this.#joinUrl, '--key', 'tpm', '--tcti', tpm.tcti);
    const took = performance.now() - startedAt;
    const { proofLevel } = await stage.device(PUMP);
    expect(proofLevel === 'tpm-endorsed', 'proof level tpm-endorsed', proofLevel);
    const key = await readFile(join(stage.stateDir(PUMP), 'current', 'key.pem'), 'utf8');
    expect(key.startsWith('-----BEGIN TSS2 PRIVATE KEY-----'), 'a key wrapped by the TPM on the disk', 'another one');

    await stage.startAgent(PUMP);
    await stage.deviceSoon(PUMP, `${PUMP} to have a session`, ({ session }) => session !== null);
    const payload = JSON.stringify({ bar: 4.2 });
    const [message, status] = await Promise.all([
      readTelemetry(stage, { from: PUMP, by: reader, subtopic: 'pressure', payload }),
      stage.agentOk(PUMP, 'status', '--json'),
    ]);
    expect(message.payload === payload, `the payload ${payload}`, message.payload);
    // The agent reads it in the certificate: the gateway does not say one thing here and certify another.
    const certified = (JSON.parse(status) as { proofLevel: string }).proofLevel;
    expect(certified === proofLevel, `${proofLevel} in the certificate`, certified);
    return [
      'with a key in a file: refused',
      `pinned TPM maker: ${pinned.map(({ kind, subject }) => `${subject} (${kind})`).join(', ')}`,
      `proof level ${proofLevel}, enrolled in ${formatSeconds(took)} (agent's start to confirmed session)`,
      `mutual TLS by the TPM; ${message.topic}  ${message.payload}`,
    ];
  }

  /** What needs no other step: the maker is pinned, and a key in a file refused. */
  async #prepare(stage: DemoStage): Promise<Prepared> {
    const refused = stage.agent(`${PUMP}-without-tpm`, 'enroll', this.#joinUrl, '--key', 'software');
    const maker = await this.#maker;
    const tpm = await maker.makeTpm();
    const file = join(stage.folder, 'tpm-maker.pem');
    await writeFile(file, (await readFile(maker.files.root, 'utf8')) + (await readFile(maker.files.issuer, 'utf8')));
    const pinned = await stage.gatehouse<TpmRootSummary[]>('tpm', 'root', 'add', file);
    const software = await refused;
    expect(software.exitCode === REFUSED, `a key in a file to be refused in group ${GROUP}`, software);
    return { tpm, pinned };
  }

  /** Ends the TPM: after its agent. */
  async dispose(): Promise<void> {
    const maker = await this.#maker.catch(() => undefined);
    await maker?.dispose();
  }
}
