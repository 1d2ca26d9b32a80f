import { z } from 'zod';
import type { TpmChallengeRequest } from '#gateway/contract/attestation.ts';
import { type CsrMessage, REQUEST_ID } from '#gateway/contract/csr-messages.ts';
import { parseBoundedJson } from '#gateway/contract/parse-bounded-json.ts';
import type { CsrRequest } from '#gateway/operations/answer-csr-message.ts';

/** Characters of base64: about three quarters of it in bytes. A CSR with attestation is under 8 KiB. */
const MAX_CSR = 48 * 1024;
const MAX_CERTIFICATE = 12 * 1024;
/** The public area of an RSA-4096 key is some 600 octets. */
const MAX_PUBLIC_AREA = 2 * 1024;

const bytes = (most: number) =>
  z
    .base64()
    .min(1)
    .max(most)
    .transform((text) => Buffer.from(text, 'base64'));

const asked = { version: z.literal(1), requestId: z.string().regex(REQUEST_ID) };

const tpmChallenge = z.object({
  version: z.literal(1),
  ekCertificate: bytes(MAX_CERTIFICATE).exactOptional(),
  ekChain: z.array(bytes(MAX_CERTIFICATE)).max(6).exactOptional(),
  ekPublic: bytes(MAX_PUBLIC_AREA).exactOptional(),
  akPublic: bytes(MAX_PUBLIC_AREA),
}) satisfies z.ZodType<unknown, TpmChallengeRequest>;

const csrMessage = z.object({ ...asked, csr: bytes(MAX_CSR) }) satisfies z.ZodType<unknown, CsrMessage>;
const challengeMessage = z.object({ ...asked, tpmChallenge }) satisfies z.ZodType<unknown, CsrMessage>;
const header = z.object({ requestId: asked.requestId });

export type ParsedCsrMessage =
  | CsrRequest
  /** requestId: undefined when not even that can be read, so that there is nobody to answer. */
  | { kind: 'invalid'; requestId: string | undefined; why: string };

/** What a device sends on its CSR topic (contract/csr-messages.ts). Unknown fields are ignored, unknown versions refused. */
export function parseCsrMessage(payload: Buffer): ParsedCsrMessage {
  const value = parseJson(payload);
  const { data } = header.safeParse(value);
  if (data === undefined) return { kind: 'invalid', requestId: undefined, why: 'it has no requestId' };
  const { requestId } = data;
  const asksChallenge = typeof value === 'object' && value !== null && 'tpmChallenge' in value;
  if (asksChallenge && 'csr' in value) {
    return { kind: 'invalid', requestId, why: 'csr and tpmChallenge are two messages, one after the other' };
  }
  if (!asksChallenge) {
    const { data: message, error } = csrMessage.safeParse(value);
    return message === undefined ? invalid(requestId, error) : { kind: 'csr', requestId, csr: message.csr };
  }
  const { data: message, error } = challengeMessage.safeParse(value);
  if (message === undefined) return invalid(requestId, error);
  const { version: _, ekChain = [], ...shown } = message.tpmChallenge;
  return { kind: 'challenge', requestId, shown: { ...shown, ekChain } };
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
