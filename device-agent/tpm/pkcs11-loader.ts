import { dirname } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls';
import { AgentError } from '#device-agent/domain/agent-error.ts';
import type { KeyLoader } from './key-loader.ts';
import type { Pkcs11Parts } from './pkcs11-parts.ts';
import { labelOf, type Pkcs11Store } from './pkcs11-store.ts';
import type { TpmError } from './tpm-error.ts';
import { isTss2Pem } from './tss2-key.ts';

export type Pkcs11LoaderOptions = {
  parts: Pkcs11Parts;
  store: Pkcs11Store;
  tcti: string;
  /** Every key that the state folder holds now. */
  storedKeys: () => Promise<string[]>;
  /** A key is wanted that was made after this process had opened the store: only a new process sees it. */
  onNewKey: () => void;
};

/**
 * By OpenSSL's engine for PKCS#11 and tpm2-pkcs11, which reads its store once in a process and never again: not even
 * when every key of it has been given back. So all keys of the state folder are linked before it is opened.
 */
export class Pkcs11Loader implements KeyLoader {
  readonly #options: Pkcs11LoaderOptions;
  /** What the store held when this process opened it, and why it did not hold the rest. */
  #opened: { labels: Set<string>; refused: Map<string, TpmError> } | undefined;
  #queue: Promise<unknown> = Promise.resolve();

  constructor(options: Pkcs11LoaderOptions) {
    this.#options = options;
  }

  async load(pem: string, options: SecureContextOptions): Promise<SecureContext> {
    const { labels, refused } = await this.#open(pem);
    const label = labelOf(pem);
    const why = refused.get(label);
    if (why) throw why;
    if (!labels.has(label)) {
      this.#options.onNewKey();
      // Whoever restarts this process has begun to stop when this attempt fails.
      await setImmediate();
      throw new AgentError('STOPPED', 'the new key can be used after a restart of the agent', {
        advice: 'run the command again',
      });
    }
    return withEnvironment(this.#environment(), () =>
      createSecureContext({
        ...options,
        privateKeyEngine: 'pkcs11',
        privateKeyIdentifier: this.#options.store.uriOf(pem),
      }),
    );
  }

  /** After a failed signature its connection to the TPM stays broken, and a key that is loaded again only looks well. */
  isLost(cause: unknown): boolean {
    const { message = '', cause: inner } = (cause ?? {}) as { message?: string; cause?: { message?: string } };
    return [message, inner?.message ?? ''].some((text) => text.includes(':PKCS#11 module:'));
  }

  giveUp(): Promise<void> {
    return this.#options.store.discard();
  }

  /** After a key has gone from the state folder it goes from the store too; if not now, then at the next start. */
  forget(): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#opened) await this.#options.store.hold(await this.#options.storedKeys());
    }).catch(() => {});
  }

  async #open(pem: string): Promise<{ labels: Set<string>; refused: Map<string, TpmError> }> {
    return this.#inTurn(async () => {
      if (this.#opened) return this.#opened;
      const keys = [...(await this.#options.storedKeys()), pem];
      const refused = await this.#options.store.hold(keys);
      this.#opened = { labels: new Set(keys.filter(isTss2Pem).map(labelOf)), refused };
      return this.#opened;
    });
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#queue.then(work);
    this.#queue = done.catch(() => {});
    return done;
  }

  #environment(): Record<string, string> {
    const { parts, store, tcti } = this.#options;
    return {
      OPENSSL_ENGINES: dirname(parts.engine),
      PKCS11_MODULE_PATH: parts.module,
      TPM2_PKCS11_STORE: store.folder,
      TPM2_PKCS11_TCTI: tcti,
    };
  }
}

/** The engine is set up by the environment. It is our own only while it reads it: a hook has another use for the same names. */
function withEnvironment<T>(environment: Record<string, string>, work: () => T): T {
  // Inside this process the TSS library would write into our log; what it has to say comes from the tools.
  process.env['TSS2_LOG'] ??= 'all+none';
  const before = Object.keys(environment).map((name) => [name, process.env[name]] as const);
  Object.assign(process.env, environment);
  try {
    return work();
  } finally {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  }
}
