import { restartProcess } from './restart-process.ts';

const OPTION = '--openssl-config=';

/** OpenSSL reads its configuration once, at the start of a process. @param config absolute path. */
export function isRunningWithProvider(config: string, tcti: string): boolean {
  return process.execArgv.includes(OPTION + config) && process.env['TPM2OPENSSL_TCTI'] === tcti;
}

/**
 * Becomes the same program under this OpenSSL configuration. Must come before anything is read from stdin.
 * @param cwd where the program was started. Never returns.
 */
export function restartWithProvider({ config, tcti, cwd }: { config: string; tcti: string; cwd: string }): never {
  return restartProcess({
    cwd,
    nodeOptions: [OPTION + config, ...process.execArgv.filter((option) => !option.startsWith(OPTION))],
    environment: {
      TPM2OPENSSL_TCTI: tcti,
      // Inside this process the TSS library would write into our log; what it has to say comes from the tools.
      TSS2_LOG: process.env['TSS2_LOG'] ?? 'all+none',
    },
  });
}
