import type { TpmErrorCode } from './tpm-error.ts';

/** TPM 2.0 Part 2, 6.6: format 1 codes carry which handle, parameter or session they are about; this is the code alone. */
const FORMAT_ONE = 0x80;
const FORMAT_ONE_CODE = 0xbf;

const FORMAT_ONE_CODES: Record<number, TpmErrorCode> = {
  0x84: 'WRONG_TPM', // TPM_RC_VALUE: an activation blob, or a wrapped key, of somebody else
  0x8b: 'NOTHING_THERE', // TPM_RC_HANDLE
  0x8e: 'AUTH_REFUSED', // TPM_RC_AUTH_FAIL
  0x9d: 'POLICY_REFUSED', // TPM_RC_POLICY_FAIL
  0x9f: 'WRONG_TPM', // TPM_RC_INTEGRITY
  0xa2: 'AUTH_REFUSED', // TPM_RC_BAD_AUTH
};

const FORMAT_ZERO_CODES: Record<number, TpmErrorCode> = {
  0x101: 'FAILURE_MODE',
  0x125: 'AUTH_REFUSED', // TPM_RC_AUTH_MISSING
  0x12f: 'AUTH_REFUSED', // TPM_RC_AUTH_UNAVAILABLE
  0x14b: 'NO_SPACE', // TPM_RC_NV_SPACE
  0x14c: 'HANDLE_TAKEN', // TPM_RC_NV_DEFINED
  0x902: 'OBJECTS_EXHAUSTED',
  0x903: 'SESSIONS_EXHAUSTED',
  0x904: 'OBJECTS_EXHAUSTED', // TPM_RC_MEMORY
  0x905: 'SESSIONS_EXHAUSTED', // TPM_RC_SESSION_HANDLES
  0x906: 'OBJECTS_EXHAUSTED', // TPM_RC_OBJECT_HANDLES
  0x908: 'BUSY', // TPM_RC_YIELDED
  0x90a: 'BUSY', // TPM_RC_TESTING
  0x910: 'NOTHING_THERE', // TPM_RC_REFERENCE_H0
  0x920: 'BUSY', // TPM_RC_NV_RATE
  0x921: 'LOCKOUT',
  0x922: 'BUSY', // TPM_RC_RETRY
};

/**
 * The response code in what a tool said: the last one, which is the tool's own summary of what stopped it.
 * @returns undefined when it names none of the TPM's (a code of a TSS layer is not the TPM's).
 */
export function parseResponseCode(stderr: string): number | undefined {
  const found = [...stderr.matchAll(/\(0x([0-9a-f]{3,8})\)/gi)].map(([, hex]) => Number.parseInt(hex ?? '', 16));
  // The layers of a response from the TPM itself (0) and from a resource manager that answers in its place (0xB, 0xC).
  return found.findLast((code) => [0, 0xb, 0xc].includes(code >>> 16) && (code & 0xffff) > 0xff);
}

/** @returns undefined for codes without a treatment of their own. */
export function classifyResponseCode(responseCode: number): TpmErrorCode | undefined {
  const code = responseCode & 0xffff;
  return (code & FORMAT_ONE) === 0 ? FORMAT_ZERO_CODES[code] : FORMAT_ONE_CODES[code & FORMAT_ONE_CODE];
}
