import type { GroupPolicy } from '#gateway/contract/operator-api.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import { judgePolicy, type PolicyFacts } from '#gateway/domain/policy/judge-policy.ts';
import type { Log } from '#gateway/ports/log.ts';
import type { PolicyQuestion, PolicyVerdict, PolicyWebhook } from '#gateway/ports/policy-webhook.ts';

export type PolicyDeps = { webhook: PolicyWebhook; log: Log };

/** mayWait: a person can be asked; left out: only about a first enrollment. */
export type PolicyRequest = { policy: GroupPolicy; facts: PolicyFacts; question: PolicyQuestion; mayWait?: boolean };

/** Seconds: soon enough for a device that waits, seldom enough for a system that has to come up. */
const WEBHOOK_RETRY = 60;

/**
 * Whether a group's policy grants a request whose credentials, key and proof were verified. The group's webhook is
 * asked last, and only about what the local rules would grant.
 * @returns `waits`: why a person has to decide
 * @throws GatewayError with the code of the first rule that refuses, POLICY_WEBHOOK_REFUSED, POLICY_WEBHOOK_UNAVAILABLE
 */
export async function applyPolicy(deps: PolicyDeps, request: PolicyRequest): Promise<'approved' | { waits: string }> {
  const { policy, facts, question, mayWait = facts.kind === 'enroll' } = request;
  const subject = { deviceId: facts.deviceId };
  const findings = judgePolicy(policy, facts);
  for (const finding of findings) {
    if (finding.outcome !== 'refused') continue;
    const { code, detail, retryAfter } = finding;
    throw new GatewayError(code, detail, { subject, ...(retryAfter !== undefined && { retryAfter }) });
  }
  const waits = findings.find(({ outcome }) => outcome === 'waits')?.detail;
  if (policy.webhook !== null) {
    const { decision, reason } = await askWebhook(deps, policy.webhook, question);
    if (decision === 'deny') {
      throw new GatewayError('POLICY_WEBHOOK_REFUSED', `refused by another system: ${reason ?? 'no reason given'}`, {
        subject,
      });
    }
    // In renewals of what is still good nobody waits for a person: whoever wants to stop one denies it.
    if (decision === 'ask a person' && mayWait) {
      return { waits: waits ?? reason ?? 'another system wants a person to decide' };
    }
  }
  return waits === undefined ? 'approved' : { waits };
}

async function askWebhook(deps: PolicyDeps, url: string, question: PolicyQuestion): Promise<PolicyVerdict> {
  try {
    return await deps.webhook.ask(url, question);
  } catch (cause) {
    const { attemptId, deviceId } = question;
    deps.log.warn('policy webhook failed', { attemptId, deviceId, error: String(cause) });
    throw new GatewayError('POLICY_WEBHOOK_UNAVAILABLE', 'a system that has to be asked did not answer', {
      cause,
      retryAfter: WEBHOOK_RETRY,
      subject: { deviceId },
    });
  }
}
