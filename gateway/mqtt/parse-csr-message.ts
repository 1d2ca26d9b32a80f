import type { z } from 'zod';
import { parseBoundedJson } from '#gateway/contract/parse-bounded-json.ts';
import type { CsrRequest } from '#gateway/operations/answer-csr-message.ts';
import { CSR_HEADER, CSR_MESSAGE, TPM_CHALLENGE_MESSAGE } from './csr-message-schema.ts';

export type ParsedCsrMessage =
  | CsrRequest
  /** requestId: undefined when not even that can be read, so that there is nobody to answer. */
  | { kind: 'invalid'; requestId: string | undefined; why: string };

/** What a device sends on its CSR topic (contract/csr-messages.ts). Unknown fields are ignored, unknown versions refused. */
export function parseCsrMessage(payload: Buffer): ParsedCsrMessage {
  const value = parseJson(payload);
  const { data } = CSR_HEADER.safeParse(value);
  if (data === undefined) return { kind: 'invalid', requestId: undefined, why: 'it has no requestId' };
  const { requestId } = data;
  const asksChallenge = typeof value === 'object' && value !== null && 'tpmChallenge' in value;
  if (asksChallenge && 'csr' in value) {
    return { kind: 'invalid', requestId, why: 'csr and tpmChallenge are two messages, one after the other' };
  }
  if (!asksChallenge) {
    const { data: message, error } = CSR_MESSAGE.safeParse(value);
    return message === undefined
      ? invalid(requestId, error)
      : { kind: 'csr', requestId, csr: message.csr, ...labelOf(message) };
  }
  const { data: message, error } = TPM_CHALLENGE_MESSAGE.safeParse(value);
  if (message === undefined) return invalid(requestId, error);
  const { version: _, ekChain = [], ...shown } = message.tpmChallenge;
  return { kind: 'challenge', requestId, shown: { ...shown, ekChain }, ...labelOf(message) };
}

function labelOf({ label }: { label?: string }): { label?: string } {
  return label === undefined ? {} : { label };
}

function invalid(requestId: string, error: z.ZodError): ParsedCsrMessage {
  const [fault] = error.issues;
  const where = fault?.path.join('.') ?? '';
  return {
    kind: 'invalid',
    requestId,
    why: `${where === '' ? 'the message' : where}: ${fault?.message ?? 'malformed'}`,
  };
}

function parseJson(payload: Buffer): unknown {
  try {
    return parseBoundedJson(payload.toString('utf8'));
  } catch {
    return undefined;
  }
}
