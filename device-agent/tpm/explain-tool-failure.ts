import { TpmError, type TpmErrorCode } from './tpm-error.ts';
import { classifyResponseCode, parseResponseCode } from './tpm-response-code.ts';
import { WRONG_TPM_ADVICE } from './wrong-tpm.ts';

export type ToolFailure = {
  /** Name of the program, e.g. `tpm2_sign`. */
  tool: string;
  tcti: string;
  stderr: string;
  /** `ENOENT`: not installed. */
  startError?: string;
  timedOut?: boolean;
  cause: unknown;
};

/** A failed run of a tool as what happened and what to do next. */
export function explainToolFailure(failure: ToolFailure): TpmError {
  const { tool, tcti, stderr, cause } = failure;
  if (failure.startError === 'ENOENT') {
    return new TpmError('TOOL_MISSING', `the program ${tool} is not installed`, {
      cause,
      advice: `install it (Debian: apt-get install ${tool === 'tpm2_ptool' ? 'libtpm2-pkcs11-tools' : 'tpm2-tools'})`,
    });
  }
  if (failure.timedOut === true) {
    return new TpmError('TIMEOUT', `${tool} got no answer from the TPM in time`, {
      cause,
      advice: 'look for another program that keeps the TPM busy; if there is none, restart the device',
    });
  }
  const responseCode = parseResponseCode(stderr);
  const code = (responseCode === undefined ? undefined : classifyResponseCode(responseCode)) ?? withoutResponse(stderr);
  return new TpmError(code, `${tool}: ${MESSAGES[code]}${shown(code, responseCode, stderr)}`, {
    cause,
    ...(responseCode === undefined ? {} : { responseCode }),
    ...adviceFor(code, tcti),
  });
}

/** An error that a raw response carries. @param command name of what was sent, for people. */
export function explainResponseCode(command: string, responseCode: number, tcti: string): TpmError {
  const code = classifyResponseCode(responseCode) ?? 'FAILED';
  return new TpmError(code, `${command}: ${MESSAGES[code]} [0x${responseCode.toString(16)}]`, {
    responseCode,
    ...adviceFor(code, tcti),
  });
}

/** Nothing came from a TPM: the way to it is the matter. */
function withoutResponse(stderr: string): TpmErrorCode {
  if (/permission denied|operation not permitted/i.test(stderr)) return 'NO_PERMISSION';
  if (
    /could not load tcti|failed to (connect|open)|cannot connect|unable to (connect|open)|I\/O error|0xa000[0-9a-f]/i.test(
      stderr,
    )
  )
    return 'NO_TPM';
  return 'FAILED';
}

const MESSAGES = {
  NO_TPM: 'no TPM answers',
  NO_PERMISSION: 'this user may not use the TPM',
  TOOL_MISSING: 'not installed',
  LOCKOUT: 'the TPM is locked after failed attempts (0x921)',
  OBJECTS_EXHAUSTED: 'all slots of the TPM for loaded keys are taken',
  SESSIONS_EXHAUSTED: 'all sessions of the TPM are taken',
  NO_SPACE: 'the TPM has no room for another persistent key',
  AUTH_REFUSED: 'the TPM wants a password that the agent does not have',
  POLICY_REFUSED: 'the policy of a key was not met',
  WRONG_TPM: 'this belongs to another TPM, or the TPM has been cleared',
  NOTHING_THERE: 'the TPM holds nothing at this handle',
  HANDLE_TAKEN: 'the handle is taken',
  BUSY: 'the TPM stays busy',
  TIMEOUT: 'no answer in time',
  FAILURE_MODE: 'the TPM is in failure mode (0x101)',
  PROVIDER_UNFIT: 'the OpenSSL provider cannot be used',
  CONNECTION_DEAD: 'the connection to the TPM is broken',
  FAILED: 'failed',
} as const satisfies Record<TpmErrorCode, string>;

function shown(code: TpmErrorCode, responseCode: number | undefined, stderr: string): string {
  if (code !== 'FAILED') return responseCode === undefined ? '' : ` [0x${responseCode.toString(16)}]`;
  const told = stderr
    .replace(/[\p{Cc}\s]+/gu, ' ')
    .trim()
    .slice(-300);
  return told === '' ? '' : `: ${told}`;
}

function adviceFor(code: TpmErrorCode, tcti: string): { advice?: string } {
  const advice = ADVICE[code];
  if (advice === undefined) return {};
  return { advice: code === 'NO_TPM' ? `${advice} (tried: ${tcti})` : advice };
}

const ADVICE: Partial<Record<TpmErrorCode, string>> = {
  NO_TPM: 'switch the TPM on in the firmware settings, see that /dev/tpmrm0 is there, or name the right --tcti',
  NO_PERMISSION: 'add the user of the agent to the group tss (usermod -aG tss USER, or SupplementaryGroups=tss)',
  LOCKOUT:
    'wait until the TPM recovers by itself, or clear it: tpm2_dictionarylockout -c (with the lockout password if one is set)',
  OBJECTS_EXHAUSTED:
    'end the program that keeps keys loaded, use a resource manager (/dev/tpmrm0 or tpm2-abrmd), or: tpm2_flushcontext -t',
  SESSIONS_EXHAUSTED:
    'end the program that keeps sessions open, use a resource manager (/dev/tpmrm0 or tpm2-abrmd), or: tpm2_flushcontext -l -s',
  NO_SPACE: 'remove persistent keys that nobody uses: tpm2_getcap handles-persistent, tpm2_evictcontrol -c HANDLE',
  AUTH_REFUSED: 'the agent needs empty owner and endorsement passwords: tpm2_changeauth -c o, tpm2_changeauth -c e',
  WRONG_TPM: WRONG_TPM_ADVICE,
  BUSY: 'try again; another program may be using the TPM',
  FAILURE_MODE: 'restart the device; if it stays like this, the TPM is defective',
};
