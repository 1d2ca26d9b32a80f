import { AgentError } from '#device-agent/domain/agent-error.ts';
import type { EnrollmentAnswer } from '#device-agent/ports/enrollment-session.ts';

/** GATEWAY_BUSY when the same request may be granted later, else GATEWAY_REFUSED. */
export function explainRefusal(answer: EnrollmentAnswer & { kind: 'refused' }): AgentError {
  const { status, attemptId, detail, transient, retryAfterMs } = answer;
  const later = transient ?? (status === 408 || status === 429 || status >= 500);
  return new AgentError(
    later ? 'GATEWAY_BUSY' : 'GATEWAY_REFUSED',
    detail || `the gateway answered with status ${status} and no reason`,
    {
      attemptId,
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
      ...(later ? { advice: 'try again later; the same key is used again' } : {}),
    },
  );
}
