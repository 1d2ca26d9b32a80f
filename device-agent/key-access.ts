import { access } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { KeyAccess } from './compose-agent.ts';
import { parseAgentConfig } from './domain/agent-config.ts';
import { AgentError } from './domain/agent-error.ts';
import type { TlsKeyAccess } from './domain/agent-status.ts';
import { softwareKeys } from './keys/software-keys.ts';
import type { KeyProvider, KeyProviderName } from './ports/key-provider.ts';
import type { StateStore } from './ports/state-store.ts';
import { LAYOUT } from './state/state-layout.ts';
import type { StateFolder } from './state-folder.ts';
import { chooseTlsAccess, findTlsAccess } from './tpm/choose-tls-access.ts';
import { forgettingStore } from './tpm/forgetting-store.ts';
import { providerLoader } from './tpm/key-loader.ts';
import { writeProviderConfig } from './tpm/openssl-provider.ts';
import { Pkcs11Loader } from './tpm/pkcs11-loader.ts';
import { Pkcs11Store } from './tpm/pkcs11-store.ts';
import { isRunningWithProvider, restartWithProvider } from './tpm/restart-with-provider.ts';
import { SharedSecureContext } from './tpm/shared-secure-context.ts';
import { TpmDevice } from './tpm/tpm-device.ts';
import type { TpmError } from './tpm/tpm-error.ts';
import { createTpmKeys } from './tpm/tpm-keys.ts';
import { parseTpmRecord } from './tpm/tpm-record.ts';

export const KEY_CHOICES = ['software', 'tpm', 'auto'] as const;
export type KeyChoice = (typeof KEY_CHOICES)[number];

/** The kernel's resource manager; never /dev/tpm0, which one program at a time can use. */
const DEFAULT_TCTI = 'device:/dev/tpmrm0';
const TPM_DEVICES = ['/dev/tpmrm0', '/dev/tpm0'];

/** What this state folder has been enrolled with, or was about to be. @throws AgentError STATE_BROKEN */
export async function recordedProvider(store: StateStore): Promise<KeyProviderName | undefined> {
  const record = await store.readRecord('agent');
  return record === undefined ? undefined : parseAgentConfig(record).keyProvider;
}

/**
 * Where the keys of an enrollment are to live. Once in a TPM, never less: neither by `auto` nor by `software`.
 * @throws AgentError
 */
export async function chooseProvider(
  store: StateStore,
  wish: { choice: KeyChoice; tcti: string | undefined; replace: boolean },
): Promise<KeyProviderName> {
  const recorded = await recordedProvider(store);
  const { choice, replace } = wish;
  if (choice === 'software' && recorded === 'tpm') {
    throw new AgentError('KEY_UNSUPPORTED', 'the key of this device lives in its TPM; one in a file would prove less', {
      advice: 'use --key tpm; if the device is to become another one, give another folder with --state',
    });
  }
  const isEnrolled = (await store.currentGeneration()) !== undefined;
  if (choice === 'tpm' && recorded === 'software' && isEnrolled && !replace) {
    throw new AgentError('ALREADY_ENROLLED', 'this device is enrolled with a key in a file', {
      advice: 'run enroll again with --replace and a new ticket to move to a key in the TPM',
    });
  }
  if (choice !== 'auto') return choice;
  if (recorded === 'tpm') return 'tpm';
  if (recorded === 'software' && isEnrolled && !replace) return 'software';
  return wish.tcti !== undefined || (await hasTpm()) ? 'tpm' : 'software';
}

/** How to reach the TPM: as asked for, as before, or by the kernel's resource manager. */
export async function chooseTcti(store: StateStore, asked: string | undefined): Promise<string> {
  return asked ?? parseTpmRecord(await store.readRecord('tpm'))?.tcti ?? DEFAULT_TCTI;
}

export async function hasTpm(): Promise<boolean> {
  for (const path of TPM_DEVICES) {
    const isThere = await access(path).then(
      () => true,
      () => false,
    );
    if (isThere) return true;
  }
  return false;
}

/**
 * OpenSSL must know the TPM before the first TLS connection with a key in it. Where a provider does that, this process
 * becomes one that has it, unless it is one; an engine is loaded when it is needed. Nothing may have been read from stdin.
 * @throws TpmError when there is nothing that can do it
 */
export async function startWithTpm(folder: StateFolder, tcti: string): Promise<void> {
  const access = chooseTlsAccess(await findTlsAccess(tcti));
  if (access.kind === 'pkcs11') return;
  const config = await writeProviderConfig(folder.path, access.module);
  if (!isRunningWithProvider(config, tcti)) restartWithProvider({ config, tcti, cwd: folder.startedIn });
}

/** The same for a folder that has an identity: nothing to do for one in files. */
export async function startAsEnrolled(folder: StateFolder): Promise<void> {
  if ((await recordedProvider(folder.store)) !== 'tpm') return;
  await startWithTpm(folder, await chooseTcti(folder.store, undefined));
}

/** To read what is stored, without a TPM and without TLS. */
export async function readingKeys(store: StateStore): Promise<KeyProvider> {
  if ((await recordedProvider(store)) !== 'tpm') return softwareKeys;
  const tcti = await chooseTcti(store, undefined);
  return createTpmKeys(new TpmDevice({ store, tcti, create: false }), await installedAccess(tcti));
}

/** What would be used. @returns undefined when nothing can be. */
async function installedAccess(tcti: string): Promise<TlsKeyAccess | undefined> {
  try {
    return chooseTlsAccess(await findTlsAccess(tcti)).kind;
  } catch {
    return undefined;
  }
}

/**
 * Keys as a command uses them. For a TPM: what a killed process left in it is released, and the current key is tried,
 * before the first connection. Call it inside the state folder and while holding it.
 * @throws TpmError
 */
export async function openKeyAccess(
  store: StateStore,
  options: {
    provider: KeyProviderName;
    tcti?: string;
    /** The command is an enrollment that may make keys. */
    create: boolean;
    onDead?: (error: TpmError) => void;
    /** Only a new process can use the key that is wanted now; it has one that is stored. */
    onNewKey?: () => void;
  },
): Promise<KeyAccess> {
  if (options.provider === 'software') return { keys: softwareKeys };
  const tcti = await chooseTcti(store, options.tcti);
  const tpm = new TpmDevice({ store, tcti, create: options.create, workFolder: resolve(LAYOUT.tpmWork) });
  const tls = chooseTlsAccess(await findTlsAccess(tcti));
  const pkcs11 = new Pkcs11Store(resolve(LAYOUT.pkcs11), tcti);
  // Of a time when there was no provider: keys that have gone since would stay in it.
  if (tls.kind === 'provider') await pkcs11.discard();
  const loader =
    tls.kind === 'provider'
      ? providerLoader
      : new Pkcs11Loader({
          parts: tls.parts,
          store: pkcs11,
          tcti,
          storedKeys: () => storedKeys(store),
          onNewKey: options.onNewKey ?? (() => {}),
        });
  const contexts = new SharedSecureContext(tpm, loader, options.onDead ?? (() => {}));
  await tpm.releaseLeftovers(await storedKeys(store));
  const current = await store.currentGeneration();
  const identity = current === undefined ? undefined : await store.readGeneration(current);
  // At a replacement of keys the old one may be of any kind, and gone.
  if (identity && !options.create) await contexts.probe(identity.key);
  const keys = createTpmKeys(tpm, tls.kind);
  if (!(loader instanceof Pkcs11Loader)) return { keys, contexts };
  return { keys, contexts, store: forgettingStore(store, () => void loader.forget()) };
}

async function storedKeys(store: StateStore): Promise<string[]> {
  const keys: string[] = [];
  for (const number of await store.listGenerations()) {
    const generation = await store.readGeneration(number);
    if (generation) keys.push(generation.key);
  }
  return keys;
}
