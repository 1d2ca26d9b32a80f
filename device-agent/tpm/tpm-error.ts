import { AgentError } from '#device-agent/domain/agent-error.ts';

export type TpmErrorCode =
  /** Nothing answers at the TCTI. */
  | 'NO_TPM'
  | 'NO_PERMISSION'
  | 'TOOL_MISSING'
  /** Too many wrong passwords: the TPM refuses every key that is not exempt (0x921). */
  | 'LOCKOUT'
  /** 0x902: somebody holds all slots for loaded objects. */
  | 'OBJECTS_EXHAUSTED'
  /** 0x903, 0x905 */
  | 'SESSIONS_EXHAUSTED'
  /** No room for another persistent key (0x14b) or handle. */
  | 'NO_SPACE'
  | 'AUTH_REFUSED'
  | 'POLICY_REFUSED'
  /** The key belongs to another TPM, or this one was cleared (0x1df and its kin). */
  | 'WRONG_TPM'
  /** A handle where nothing is. */
  | 'NOTHING_THERE'
  /** A persistent handle that is taken (0x14c). */
  | 'HANDLE_TAKEN'
  /** It asked to be asked again, too often. */
  | 'BUSY'
  | 'TIMEOUT'
  /** 0x101: it does nothing more before a reset. */
  | 'FAILURE_MODE'
  | 'PROVIDER_UNFIT'
  /** The connection inside this process is broken for good: only a new process helps. */
  | 'CONNECTION_DEAD'
  | 'FAILED';

/** What happened with the TPM, and what to do. To everybody above it is an AgentError; never a reason for another kind of key. */
export class TpmError extends AgentError {
  readonly tpmCode: TpmErrorCode;
  /** As the TPM gave it. */
  readonly responseCode: number | undefined;
  constructor(
    tpmCode: TpmErrorCode,
    message: string,
    details: { advice?: string; responseCode?: number; cause?: unknown } = {},
  ) {
    const { responseCode, ...rest } = details;
    super('TPM_UNUSABLE', message, rest);
    this.name = 'TpmError';
    this.tpmCode = tpmCode;
    this.responseCode = responseCode;
  }
}
