import type { FastifyReply, FastifyRequest } from 'fastify';
import type { GroupPolicy } from '#gateway/contract/operator-api.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import type { EstDeps } from './est-deps.ts';
import type { EstAnswer } from './send-answer.ts';
import type { SessionNonces } from './session-nonce.ts';

/** What the routes use of the door they belong to. */
export type RequestHandling = {
  deps: EstDeps;
  nonces: SessionNonces;
  /** Before any work. @throws GatewayError RATE_LIMITED, OVERLOADED */
  checkCaller: (request: FastifyRequest) => void;
  /** Through the gate that bounds what is worked on at once; refusals are answered there. */
  operate: (request: FastifyRequest, reply: FastifyReply, work: () => Promise<EstAnswer>) => Promise<void>;
  answer: (request: FastifyRequest, reply: FastifyReply, answer: EstAnswer) => void;
};

/** Who asks and for which group, in words of the operations. */
export function askedBy(request: FastifyRequest): { attemptId: string; address: string; label?: string } {
  const label = labelOf(request);
  return { attemptId: request.id, address: request.ip, ...(label === undefined ? {} : { label }) };
}

/**
 * The policy of the group that the label names.
 * @returns undefined when there is no label
 * @throws GatewayError LABEL_UNKNOWN
 */
export async function labelledPolicy(
  { findPolicy }: Pick<EstDeps, 'findPolicy'>,
  request: FastifyRequest,
): Promise<GroupPolicy | undefined> {
  const label = labelOf(request);
  if (label === undefined) return undefined;
  const policy = await findPolicy(label);
  if (policy === undefined) throw new GatewayError('LABEL_UNKNOWN', 'there is no group with the name of this label');
  return policy;
}

function labelOf({ params }: FastifyRequest): string | undefined {
  return (params as { label?: string }).label;
}
