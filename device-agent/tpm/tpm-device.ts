import type { EndorsementKind } from '#ca/tpm2/endorsement-kind.ts';
import { type EccPublicArea, formatPublicArea } from '#ca/tpm2/public-area.ts';
import type { Attester, TpmEvidence, TpmIdentity } from '#device-agent/ports/key-provider.ts';
import type { StateStore } from '#device-agent/ports/state-store.ts';
import { activateCredential, type SealedCredential } from './activate-credential.ts';
import {
  chooseHandle,
  createAttestationKey,
  findAttestationKey,
  formatName,
  readAttestationKey,
} from './attestation-key.ts';
import { certifyDeviceKey, createDeviceKey, loadDeviceKey, signWithDeviceKey } from './device-key.ts';
import { type Endorsement, readEndorsement } from './endorsement-key.ts';
import { releaseObjects } from './release-objects.ts';
import { ensureStorageKey } from './storage-key.ts';
import { TpmError } from './tpm-error.ts';
import { parseTpmRecord, type TpmRecord } from './tpm-record.ts';
import { hasResourceManager, type TpmBench, TpmWorkbench } from './tpm-workbench.ts';
import { isTss2Pem, parseTss2Pem, tss2KeyName } from './tss2-key.ts';
import { wrongTpm } from './wrong-tpm.ts';

export type TpmDeviceOptions = {
  /** Where its record is kept; nothing else of it. */
  store: Pick<StateStore, 'readRecord' | 'writeRecord'>;
  tcti: string;
  /**
   * Whether storage key and attestation key may be made: at an enrollment. Else what the record names must be there,
   * for a TPM without them is not the TPM of this device.
   */
  create: boolean;
  /** Absolute path of a folder that is made and removed for each piece of work; left out: in the system's own place. */
  workFolder?: string;
  endorsement?: EndorsementKind;
};

type Ready = { record: TpmRecord; ak: EccPublicArea };

/** The TPM as this device uses it: storage key, attestation key, endorsement, and device keys that live wrapped in files. */
export class TpmDevice implements Attester {
  readonly tcti: string;
  readonly #options: TpmDeviceOptions;
  readonly #workbench: TpmWorkbench;
  #ready: Promise<Ready> | undefined;
  #endorsement: Promise<Endorsement> | undefined;

  constructor(options: TpmDeviceOptions) {
    this.tcti = options.tcti;
    this.#options = options;
    this.#workbench = new TpmWorkbench(options.tcti, options.workFolder);
  }

  /** TSS2 PRIVATE KEY, PEM. @throws TpmError */
  async createKey(): Promise<string> {
    await this.#open();
    return this.#workbench.use(createDeviceKey);
  }

  /** @returns ECDSA-Sig-Value over SHA-256, DER. @throws TpmError */
  sign(pem: string, message: Uint8Array): Promise<Buffer> {
    const key = parseTss2Pem(pem);
    return this.#workbench.use((bench) => signWithDeviceKey(bench, key, message));
  }

  async identify(): Promise<TpmIdentity> {
    const { ak } = await this.#open();
    const { area, certificate, chain } = await this.#readEndorsement();
    return {
      ekPublic: formatPublicArea(area),
      ...(certificate ? { ekCertificate: certificate } : {}),
      ekChain: chain,
      akPublic: formatPublicArea(ak),
    };
  }

  async activate(credential: SealedCredential): Promise<Buffer> {
    const { record } = await this.#open();
    const endorsement = await this.#readEndorsement();
    return this.#workbench.use((bench) => activateCredential(bench, endorsement, record.akHandle, credential));
  }

  async certify(pem: string, qualifyingData: Buffer): Promise<TpmEvidence> {
    const { record } = await this.#open();
    const key = parseTss2Pem(pem);
    const { akHandle } = record;
    const certified = await this.#workbench.use((bench) => certifyDeviceKey(bench, { key, akHandle, qualifyingData }));
    return { ...certified, publicArea: Buffer.from(key.publicArea.subarray(2)) };
  }

  /** Loads the key once. @throws TpmError that says why it cannot be used */
  async checkKey(pem: string): Promise<void> {
    const key = parseTss2Pem(pem);
    await this.#workbench.use(async (bench) => {
      await loadDeviceKey(bench, key);
    });
  }

  /**
   * A process that was killed leaves its objects in a TPM without a resource manager. Those with the Name of a key of
   * this device can only be ours, since one process at a time has its state folder.
   * @param pems keys of this device.
   */
  async releaseLeftovers(pems: string[]): Promise<void> {
    if (hasResourceManager(this.tcti)) return;
    const names = new Set(pems.filter(isTss2Pem).map((pem) => tss2KeyName(pem)));
    await this.#workbench.use((bench) => releaseObjects(bench, names));
  }

  #open(): Promise<Ready> {
    this.#ready ??= this.#workbench.use((bench) => this.#prepare(bench));
    // What failed once may work the next time.
    this.#ready.catch(() => {
      this.#ready = undefined;
    });
    return this.#ready;
  }

  #readEndorsement(): Promise<Endorsement> {
    this.#endorsement ??= this.#workbench.use((bench) => readEndorsement(bench, this.#options.endorsement));
    this.#endorsement.catch(() => {
      this.#endorsement = undefined;
    });
    return this.#endorsement;
  }

  async #prepare(bench: TpmBench): Promise<Ready> {
    const { store, create } = this.#options;
    await ensureStorageKey(bench, { create });
    const known = parseTpmRecord(await store.readRecord('tpm'));
    const found = known && (await readAttestationKey(bench, known.akHandle));
    // Without a name it was about to be made when the agent ended: whatever of our shape is at that handle is it.
    if (known && found && (known.akName === undefined || known.akName === formatName(found))) {
      return { ak: found, record: await this.#keep({ ...known, akName: formatName(found) }, known) };
    }
    if (!create) throw wrongTpm('the TPM does not hold the attestation key of this device');
    return this.#createAttestationKey(bench);
  }

  /** The choice is on the disk before the TPM holds anything: a run that ends in between is completed, not repeated. */
  async #createAttestationKey(bench: TpmBench): Promise<Ready> {
    const { tcti } = this.#options;
    for (;;) {
      try {
        const record: TpmRecord = { version: 1, tcti, akHandle: await chooseHandle(bench) };
        await this.#keep(record, undefined);
        const ak = await createAttestationKey(bench, record.akHandle);
        return { ak, record: await this.#keep({ ...record, akName: formatName(ak) }, record) };
      } catch (error) {
        if (!(error instanceof TpmError)) throw error;
        // Every new disk in front of the same TPM has left one; it is as good as a new one.
        const left = error.tpmCode === 'NO_SPACE' ? await findAttestationKey(bench) : undefined;
        if (left) return this.#adopt(left);
        // Another agent on the same TPM was faster: the next free handle.
        if (error.tpmCode !== 'HANDLE_TAKEN') throw error;
      }
    }
  }

  async #adopt({ handle, area }: { handle: number; area: EccPublicArea }): Promise<Ready> {
    const { tcti } = this.#options;
    const record: TpmRecord = { version: 1, tcti, akHandle: handle, akName: formatName(area) };
    return { ak: area, record: await this.#keep(record, undefined) };
  }

  async #keep(record: TpmRecord, before: TpmRecord | undefined): Promise<TpmRecord> {
    const now = { ...record, tcti: this.#options.tcti };
    if (JSON.stringify(now) !== JSON.stringify(before)) await this.#options.store.writeRecord('tpm', now);
    return now;
  }
}
