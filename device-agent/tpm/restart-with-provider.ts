import { TpmError } from './tpm-error.ts';

const OPTION = '--openssl-config=';

/** OpenSSL reads its configuration once, at the start of a process. @param config absolute path. */
export function isRunningWithProvider(config: string, tcti: string): boolean {
  return process.execArgv.includes(OPTION + config) && process.env['TPM2OPENSSL_TCTI'] === tcti;
}

/**
 * Becomes the same program under this OpenSSL configuration: same process id, same standard streams, so that neither a
 * supervisor nor a terminal sees a difference. Must come before anything is read from stdin.
 * @param cwd where the program was started. Never returns.
 */
export function restartWithProvider(restart: { config: string; tcti: string; cwd: string }): never {
  const { config, tcti, cwd } = restart;
  process.chdir(cwd);
  const nodeOptions = process.execArgv.filter((option) => !option.startsWith(OPTION));
  const args = [process.execPath, OPTION + config, ...nodeOptions, ...process.argv.slice(1)];
  process.execve?.(process.execPath, args, {
    ...process.env,
    TPM2OPENSSL_TCTI: tcti,
    // Inside this process the TSS library would write into our log; what it has to say comes from the tools.
    TSS2_LOG: process.env['TSS2_LOG'] ?? 'all+none',
  });
  throw new TpmError('PROVIDER_UNFIT', 'this Node cannot restart itself', { advice: 'use Node 24 on Linux' });
}
