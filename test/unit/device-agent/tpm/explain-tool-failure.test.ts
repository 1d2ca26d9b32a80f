import { describe, expect, it } from 'vitest';
import { explainToolFailure } from '#device-agent/tpm/explain-tool-failure.ts';
import type { TpmErrorCode } from '#device-agent/tpm/tpm-error.ts';
import { classifyResponseCode, parseResponseCode } from '#device-agent/tpm/tpm-response-code.ts';

/** What tpm2-tools 5.4 print, by what was done to the TPM. */
const SAID: [string, TpmErrorCode, string, RegExp | undefined][] = [
  [
    'a locked TPM',
    'LOCKOUT',
    'ERROR: Esys_Sign(0x921) - tpm:warn(2.0): authorizations for objects subject to DA',
    /dictionarylockout/,
  ],
  [
    'no slot for an object',
    'OBJECTS_EXHAUSTED',
    'ERROR: Esys_Load(0x902) - tpm:warn(2.0): out of memory',
    /resource manager/,
  ],
  [
    'no slot for a session',
    'SESSIONS_EXHAUSTED',
    'ERROR: Esys_StartAuthSession(0x903) - out of memory for session contexts',
    /resource manager/,
  ],
  [
    'a wrapped key of another TPM',
    'WRONG_TPM',
    'ERROR: Esys_Load(0x1DF) - tpm:parameter(1):integrity check failed',
    /replace-hardware/,
  ],
  [
    'an owner password',
    'AUTH_REFUSED',
    'ERROR: Esys_CreatePrimary(0x9A2) - tpm:session(1):authorization failure',
    /changeauth/,
  ],
  ['an unmet policy', 'POLICY_REFUSED', 'ERROR: Esys_ActivateCredential(0xA9D) - a policy check failed', undefined],
  [
    'a handle where nothing is',
    'NOTHING_THERE',
    'ERROR: Esys_TR_FromTPMPublic(0x18B) - tpm:handle(1):the handle is not correct',
    undefined,
  ],
  [
    'a handle that is taken',
    'HANDLE_TAKEN',
    'ERROR: Esys_EvictControl(0x14C) - NV index or persistent object already defined',
    undefined,
  ],
  [
    'no room for a key',
    'NO_SPACE',
    'ERROR: Esys_EvictControl(0x14B) - insufficient space for NV allocation',
    /handles-persistent/,
  ],
  [
    'a TPM in failure mode',
    'FAILURE_MODE',
    'ERROR: Esys_GetCapability(0x101) - commands not being accepted',
    /restart the device/,
  ],
  ['a TPM that is busy', 'BUSY', 'ERROR: Esys_Sign(0x922) - the TPM was not able to start the command', /try again/],
  [
    'the answer of a resource manager',
    'OBJECTS_EXHAUSTED',
    'ERROR: Esys_Load(0xB0902) - rmt:warn(2.0): out of memory',
    /resource manager/,
  ],
  [
    'no device',
    'NO_TPM',
    'Failed to open specified TCTI device file /dev/tpmrm0: No such file or directory \nERROR: Could not load tcti',
    /firmware/,
  ],
  [
    'a device of others',
    'NO_PERMISSION',
    'Failed to open specified TCTI device file /dev/tpmrm0: Permission denied \nERROR: Could not load tcti',
    /group tss/,
  ],
  ['an error of the library', 'FAILED', 'ERROR: Error deserializing private structure: 0x90006', undefined],
];

describe('what a tool said of a TPM', () => {
  it.each(SAID)('names %s: %s', (_what, tpmCode, stderr, advice) => {
    const error = explainToolFailure({ tool: 'tpm2_sign', tcti: 'device:/dev/tpmrm0', stderr, cause: undefined });
    expect(error).toMatchObject({ code: 'TPM_UNUSABLE', tpmCode });
    if (advice) expect(error.advice).toMatch(advice);
    expect(error.message).toContain('tpm2_sign');
  });

  it('names the missing package and the time that ran out', () => {
    const failure = { tool: 'tpm2_sign', tcti: 'tabrmd', stderr: '', cause: undefined };
    expect(explainToolFailure({ ...failure, startError: 'ENOENT' })).toMatchObject({ tpmCode: 'TOOL_MISSING' });
    expect(explainToolFailure({ ...failure, timedOut: true })).toMatchObject({ tpmCode: 'TIMEOUT' });
  });

  it('says where it looked for a TPM', () => {
    const error = explainToolFailure({
      tool: 'tpm2_getcap',
      tcti: 'swtpm:path=/x',
      stderr: 'ERROR: Could not load tcti',
      cause: undefined,
    });
    expect(error.advice).toContain('swtpm:path=/x');
  });

  it('puts no control characters on a terminal', () => {
    const error = explainToolFailure({
      tool: 'tpm2_sign',
      tcti: 'tabrmd',
      stderr: 'odd \u001b[31m\u0007 thing\n',
      cause: undefined,
    });
    expect(error.message).toBe('tpm2_sign: failed: odd [31m thing');
  });

  it("takes the last code, and none of the library's own layers", () => {
    expect(parseResponseCode('Error (0x00000902)\nERROR: Esys_Load(0x1DF)')).toBe(0x1df);
    expect(parseResponseCode('ERROR: Tss2_Sys(0x70007)')).toBeUndefined();
    expect(parseResponseCode('nothing')).toBeUndefined();
    expect(classifyResponseCode(0x2d2)).toBeUndefined();
  });
});
