export type AgentErrorCode =
  /** The caller asked for something that makes no sense; nothing was tried. */
  | 'USAGE'
  | 'KEY_UNSUPPORTED'
  | 'NOT_ENROLLED'
  | 'ALREADY_ENROLLED'
  /** The state folder cannot be read or written as it should. */
  | 'STATE_BROKEN'
  /** Another process of this agent holds the state folder. */
  | 'AGENT_RUNNING'
  | 'AGENT_NOT_RUNNING'
  | 'GATEWAY_UNREACHABLE'
  /** The gateway is reached and asks to come back later. */
  | 'GATEWAY_BUSY'
  /** Whoever answered is not the gateway that was pinned. */
  | 'GATEWAY_UNTRUSTED'
  /** The gateway is reached, known, and says no. */
  | 'GATEWAY_REFUSED'
  /** The gateway's answer does not follow the protocol, or certifies something else than was asked. */
  | 'ANSWER_UNFIT'
  /** The new certificate was not let in; the agent went back to the one before. */
  | 'CANDIDATE_REFUSED'
  | 'NOTICE_REFUSED'
  /** What was to say the time is not from the gateway, or not for us. */
  | 'TIME_REFUSED'
  /** The TPM, or the way to it, fails. Never a reason for another kind of key. */
  | 'TPM_UNUSABLE'
  /** Given up on purpose: stopped, or a limit of time. */
  | 'STOPPED';

export type AgentErrorDetails = {
  /** What the person in front of the device can do next. */
  advice?: string;
  /** The id under which the gateway's log and console show this attempt. */
  attemptId?: string;
  /** Milliseconds the gateway asked to wait. */
  retryAfterMs?: number;
  /** When the certificate that was refused had arrived, milliseconds UTC. */
  receivedAt?: number | undefined;
  cause?: unknown;
};

/** The one error of the agent: the message says what is wrong, `advice` what to do next. Never holds a secret. */
export class AgentError extends Error {
  readonly code: AgentErrorCode;
  readonly advice: string | undefined;
  readonly attemptId: string | undefined;
  readonly retryAfterMs: number | undefined;
  readonly receivedAt: number | undefined;
  constructor(code: AgentErrorCode, message: string, details: AgentErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'AgentError';
    this.code = code;
    this.advice = details.advice;
    this.attemptId = details.attemptId;
    this.retryAfterMs = details.retryAfterMs;
    this.receivedAt = details.receivedAt;
  }
}

/** Any thrown thing as an AgentError, so that callers can rely on a code. */
export function asAgentError(thrown: unknown, code: AgentErrorCode): AgentError {
  if (thrown instanceof AgentError) return thrown;
  return new AgentError(code, thrown instanceof Error ? thrown.message : String(thrown), { cause: thrown });
}

/** The same error, with the attempt it belongs to. One that names its attempt already, or our own TPM, stays as it is. */
export function inAttempt(error: AgentError, attemptId: string): AgentError {
  if (error.attemptId !== undefined || error.code === 'TPM_UNUSABLE') return error;
  const { code, message, advice, retryAfterMs, cause } = error;
  return new AgentError(code, message, {
    attemptId,
    cause,
    ...(advice === undefined ? {} : { advice }),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
}
