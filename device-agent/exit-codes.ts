import type { AgentErrorCode } from './domain/agent-error.ts';

/** 0 done, 1 failed, 2 wrong usage, 3 the gateway says no, 4 the gateway cannot be reached, 5 not enrolled, 6 the TPM cannot be used. */
export const EXIT_CODES = {
  USAGE: 2,
  KEY_UNSUPPORTED: 2,
  NOT_ENROLLED: 5,
  ALREADY_ENROLLED: 1,
  STATE_BROKEN: 1,
  AGENT_RUNNING: 1,
  AGENT_NOT_RUNNING: 1,
  GATEWAY_UNREACHABLE: 4,
  GATEWAY_BUSY: 4,
  GATEWAY_UNTRUSTED: 1,
  GATEWAY_REFUSED: 3,
  ANSWER_UNFIT: 1,
  CANDIDATE_REFUSED: 3,
  NOTICE_REFUSED: 1,
  TIME_REFUSED: 1,
  TPM_UNUSABLE: 6,
  STOPPED: 1,
} as const satisfies Record<AgentErrorCode, number>;
