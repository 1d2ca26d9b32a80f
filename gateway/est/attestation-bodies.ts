import { z } from 'zod';
import type { TpmChallengeAnswer, TpmChallengeRequest } from '#gateway/contract/attestation.ts';
import { parseBoundedJson } from '#gateway/contract/parse-bounded-json.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import type { TpmChallengeMade, TpmChallengeOrder } from './est-deps.ts';
import { DEFAULT_NONCE_BYTES } from './session-nonce.ts';

/** Characters of base64: about three quarters of it in bytes. */
const MAX_CERTIFICATE = 12 * 1024;
/** The public area of an RSA-4096 key is some 600 octets. */
const MAX_PUBLIC_AREA = 2 * 1024;

const bytes = (most: number) =>
  z
    .base64()
    .min(1)
    .max(most)
    .transform((text) => Buffer.from(text, 'base64'));

const challengeRequest = z.object({
  version: z.literal(1),
  ekCertificate: bytes(MAX_CERTIFICATE).exactOptional(),
  ekChain: z.array(bytes(MAX_CERTIFICATE)).max(6).exactOptional(),
  ekPublic: bytes(MAX_PUBLIC_AREA).exactOptional(),
  akPublic: bytes(MAX_PUBLIC_AREA),
}) satisfies z.ZodType<unknown, TpmChallengeRequest>;

// draft-ietf-lamps-attestation-freshness: 8 octets are the least that is unpredictable, 64 the most.
const nonceRequest = z.object({ len: z.int().min(8).max(64).optional() });

/** Absent is accepted, like for a CSR. @throws GatewayError CONTENT_TYPE_UNSUPPORTED */
export function checkJsonContentType(contentType: string | undefined): void {
  const [mediaType] = (contentType ?? 'application/json').split(';', 1);
  // The request of the draft has a media type of its own, which ends like this.
  if (/^application\/([\w.-]+\+)?json$/i.test(mediaType?.trim() ?? '')) return;
  throw new GatewayError('CONTENT_TYPE_UNSUPPORTED', 'the body is not declared as JSON (application/json)');
}

/** Unknown fields are ignored, an unknown version is refused. @throws GatewayError REQUEST_INVALID */
export function parseChallengeBody(
  body: unknown,
): Pick<TpmChallengeOrder, 'ekCertificate' | 'ekChain' | 'ekPublic' | 'akPublic'> {
  const { version: _, ekChain = [], ...rest } = check(challengeRequest, parseJson(body));
  return { ...rest, ekChain };
}

/** @returns the length asked for, in bytes. @throws GatewayError REQUEST_INVALID */
export function parseNonceBody(body: unknown): number {
  const isEmpty = !Buffer.isBuffer(body) || body.length === 0;
  return isEmpty ? DEFAULT_NONCE_BYTES : (check(nonceRequest, parseJson(body)).len ?? DEFAULT_NONCE_BYTES);
}

export function formatChallengeAnswer(made: TpmChallengeMade): string {
  const answer: TpmChallengeAnswer = {
    version: 1,
    challengeId: made.challengeId,
    credentialBlob: made.credentialBlob.toString('base64'),
    encryptedSecret: made.encryptedSecret.toString('base64'),
    expiresIn: made.expiresIn,
  };
  return JSON.stringify(answer);
}

function parseJson(body: unknown): unknown {
  try {
    return parseBoundedJson(Buffer.isBuffer(body) ? body.toString('utf8') : '');
  } catch (cause) {
    throw new GatewayError('REQUEST_INVALID', 'the body is not JSON', { cause });
  }
}

function check<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const [fault] = result.error.issues;
  const where = fault?.path.join('.') ?? '';
  throw new GatewayError('REQUEST_INVALID', `${where === '' ? 'the body' : where}: ${fault?.message ?? 'malformed'}`);
}
