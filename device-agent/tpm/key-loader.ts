import { createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls';

/** One of the ways by which OpenSSL gets at a key in the TPM. */
export interface KeyLoader {
  /**
   * @param pem TSS2 PRIVATE KEY. @throws TpmError when it has been found out why it cannot be done; anything that
   * OpenSSL throws
   */
  load(pem: string, options: SecureContextOptions): Promise<SecureContext>;
  /**
   * Whether a failed connection says that the TPM is out of reach for good in this process, although a key may still
   * seem to load. Left out: loading the key again tells.
   */
  isLost?(cause: unknown): boolean;
  /** What was kept for loading has proved to be of no use. */
  giveUp?(): Promise<void>;
}

/** OpenSSL's provider for TPMs reads the PEM itself. */
export const providerLoader: KeyLoader = {
  load: async (pem, options) => createSecureContext({ ...options, key: pem }),
};
