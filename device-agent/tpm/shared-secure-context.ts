import type { SecureContext, SecureContextOptions } from 'node:tls';
import { AgentError } from '#device-agent/domain/agent-error.ts';
import type { TlsIdentity } from '#device-agent/ports/est-client.ts';
import type { KeyLoader } from './key-loader.ts';
import type { TpmDevice } from './tpm-device.ts';
import { TpmError } from './tpm-error.ts';

type Shared = { identity: string; anchors: string; context: SecureContext };

/**
 * The one TLS context of this process. It holds one object in the TPM, of three: so the context of another identity
 * takes its place, and the one before gives its slot back at once and not when memory is collected.
 */
export class SharedSecureContext {
  readonly #tpm: TpmDevice;
  readonly #loader: KeyLoader;
  readonly #onDead: (error: TpmError) => void;
  #shared: Shared | undefined;
  /** Whether a key has been loaded in this process: then all that takes is there, and what fails later is the TPM. */
  #hasWorked = false;
  /** A key could not sign, and loading it again would not tell whether it can now. */
  #isInDoubt = false;

  /** @param onDead the connection of this process to the TPM is broken for good; a new process would have a new one. */
  constructor(tpm: TpmDevice, loader: KeyLoader, onDead: (error: TpmError) => void) {
    this.#tpm = tpm;
    this.#loader = loader;
    this.#onDead = onDead;
  }

  /** @throws TpmError that says why the key cannot be used. */
  async contextFor(identity: TlsIdentity, options: SecureContextOptions): Promise<SecureContext> {
    const wanted = nameOfIdentity(identity);
    // Anchors may change while the identity stays.
    const anchors = String(options.ca ?? '');
    if (this.#shared?.identity === wanted && this.#shared.anchors === anchors) return this.#shared.context;
    this.#release();
    if (this.#isInDoubt) await this.#settleDoubt(identity.key);
    const context = await this.#create(identity.key, { ...options, cert: identity.certificates });
    this.#shared = { identity: wanted, anchors, context };
    return context;
  }

  /** Loads the key as TLS does, and gives its slot back. @throws TpmError that says why it cannot be used. */
  async probe(pem: string): Promise<void> {
    close(await this.#create(pem, {}));
  }

  doubt(identity: TlsIdentity, cause: unknown): void {
    if (this.#shared?.identity !== nameOfIdentity(identity)) return;
    this.#release();
    if (this.#loader.isLost?.(cause) === true) this.#isInDoubt = true;
  }

  async #create(pem: string, options: SecureContextOptions): Promise<SecureContext> {
    try {
      const context = await this.#loader.load(pem, options);
      this.#hasWorked = true;
      return context;
    } catch (cause) {
      if (cause instanceof AgentError) throw cause;
      throw await this.#explain(pem, cause);
    }
  }

  /** @throws TpmError, always: what the tools say of the key, or that this process has lost the TPM. */
  async #settleDoubt(pem: string): Promise<never> {
    this.#isInDoubt = false;
    throw await this.#explain(pem, undefined);
  }

  #release(): void {
    if (this.#shared) close(this.#shared.context);
    this.#shared = undefined;
  }

  /** The same key through the tools, which have a connection of their own: they tell what the TPM says. */
  async #explain(pem: string, cause: unknown): Promise<TpmError> {
    const code = (cause as NodeJS.ErrnoException | undefined)?.code ?? '';
    if (code === 'ERR_OSSL_X509_KEY_VALUES_MISMATCH') {
      return new TpmError('FAILED', 'the key and the certificate do not belong together', { cause });
    }
    const problem = await this.#tpm.checkKey(pem).then(
      () => undefined,
      (error: unknown) => error,
    );
    // Slots can become free again, and the wrong TPM stays wrong: neither is the fault of this connection.
    if (problem instanceof TpmError && !LOST.has(problem.tpmCode)) return problem;
    if (!this.#hasWorked) {
      if (problem instanceof TpmError) return problem;
      await this.#loader.giveUp?.();
      return new TpmError('PROVIDER_UNFIT', `OpenSSL cannot load the key from the TPM (${code || String(cause)})`, {
        cause,
        advice: 'run `gatehouse-agent check`: it names what is missing',
      });
    }
    const dead = new TpmError('CONNECTION_DEAD', 'the connection of this process to the TPM is broken', {
      cause,
      advice: 'start the agent again; a supervisor does it by itself',
    });
    this.#onDead(dead);
    return dead;
  }
}

/** After these the TSS library of this process does not come back, even when the TPM does. */
const LOST = new Set(['NO_TPM', 'NO_PERMISSION', 'TIMEOUT', 'FAILURE_MODE']);

function nameOfIdentity({ key, certificates }: TlsIdentity): string {
  return key + certificates;
}

/** Frees the key now, not when memory is collected. Connections that use it keep it until they end. */
function close(context: SecureContext): void {
  (context as { context?: { close?: () => void } }).context?.close?.();
}
