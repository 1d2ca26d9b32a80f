import { TpmError } from './tpm-error.ts';

/** The TPM of this machine is not the one this device was enrolled with, or has lost what made it that. */
export function wrongTpm(message: string, cause?: unknown): TpmError {
  return new TpmError('WRONG_TPM', message, { advice: WRONG_TPM_ADVICE, cause });
}

export const WRONG_TPM_ADVICE =
  'put the TPM (or the disk) back where it was; if it was replaced or cleared on purpose, the operator runs `gatehouse device replace-hardware` and this device enrolls again with --replace';
