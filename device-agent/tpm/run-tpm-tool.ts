import { execFile } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { explainToolFailure } from './explain-tool-failure.ts';
import { TpmError, type TpmErrorCode } from './tpm-error.ts';

export type TpmToolRun = {
  /** Program of tpm2-tools, e.g. `tpm2_sign`. */
  tool: string;
  args: readonly string[];
  /** How to reach the TPM, as every TSS program reads it: `device:/dev/tpmrm0`, `swtpm:path=...`, `tabrmd`. */
  tcti: string;
  /** Files without a path are in here. */
  folder: string;
  /** Beside the environment of this process. */
  environment?: Record<string, string>;
  timeoutMs?: number;
};

/** An old discrete TPM takes many seconds to make an RSA key. */
const TIMEOUT_MS = 60_000;
const MAX_OUTPUT_BYTES = 1024 * 1024;

/** What passes: the TPM was busy with another program, or that one held all slots for a moment. */
const PASSING: TpmErrorCode[] = ['BUSY', 'OBJECTS_EXHAUSTED', 'SESSIONS_EXHAUSTED'];
const PAUSES_MS = [50, 100, 200, 400, 800];

/**
 * The one place that runs a program of tpm2-tools: no shell, and tried again while the TPM says that it passes.
 * @returns what it printed on stdout
 * @throws TpmError
 */
export function runTpmTool(run: TpmToolRun): Promise<string> {
  return retryWhilePassing(() => runOnce(run));
}

/** @throws what `work` throws, at once or when it does not pass. */
export async function retryWhilePassing<T>(work: () => Promise<T>): Promise<T> {
  for (const pause of PAUSES_MS) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof TpmError) || !PASSING.includes(error.tpmCode)) throw error;
    }
    await delay(pause);
  }
  return work();
}

function runOnce({ tool, args, tcti, folder, environment, timeoutMs = TIMEOUT_MS }: TpmToolRun): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(
      tool,
      args,
      {
        cwd: folder,
        timeout: timeoutMs,
        killSignal: 'SIGKILL',
        maxBuffer: MAX_OUTPUT_BYTES,
        env: { ...process.env, TPM2TOOLS_TCTI: tcti, LC_ALL: 'C', ...environment },
      },
      (error, stdout, stderr) => {
        if (!error) return resolve(stdout);
        const startError = typeof error.code === 'string' ? error.code : undefined;
        return reject(
          explainToolFailure({
            tool,
            tcti,
            stderr,
            timedOut: error.killed === true,
            cause: error,
            ...(startError === undefined ? {} : { startError }),
          }),
        );
      },
    );
  });
}
