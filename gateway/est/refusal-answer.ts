import { STATUS_CODES } from 'node:http';
import type { Problem } from '#gateway/contract/operator-api.ts';
import { GatewayError, type GatewayErrorCode } from '#gateway/domain/gateway-error.ts';
import { tellRefusal } from '#gateway/operations/csr-refusals.ts';
import { StoreError } from '#gateway/ports/store.ts';
import type { EstAnswer } from './send-answer.ts';

/** One challenge only, and `Basic` with a capital: libest takes no other (RFC 7030 3.2.3, RFC 7617). */
const CHALLENGE = 'Basic realm="gatehouse"';

/** What Fastify itself refuses, in our words. Anything else that is not ours is INTERNAL. */
const FROM_FRAMEWORK = new Map<string, [GatewayErrorCode, string]>([
  ['FST_ERR_CTP_BODY_TOO_LARGE', ['BODY_TOO_LARGE', 'the body is too large']],
  ['FST_ERR_CTP_INVALID_MEDIA_TYPE', ['CONTENT_TYPE_UNSUPPORTED', 'the Content-Type header is not one']],
  ['FST_ERR_CTP_INVALID_CONTENT_LENGTH', ['REQUEST_INVALID', 'the body is not as long as Content-Length says']],
  ['FST_ERR_BAD_URL', ['REQUEST_INVALID', 'the path is not a valid URL']],
  ['FST_ERR_MAX_PARAM_LENGTH', ['NOT_FOUND', 'there is no label as long as this one']],
  ['ECONNRESET', ['REQUEST_INVALID', 'the client went away in the middle of the request']],
]);

export function asGatewayError(error: unknown): GatewayError {
  if (error instanceof GatewayError) return error;
  if (error instanceof StoreError && error.code === 'UNAVAILABLE') {
    return new GatewayError('STORE_UNAVAILABLE', 'the database cannot be read at the moment', { cause: error });
  }
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const [ours, message] = FROM_FRAMEWORK.get(code) ?? ['INTERNAL', 'unexpected error'];
  return new GatewayError(ours, message, { cause: error });
}

/**
 * `CODE: what is wrong. What to do next. (attempt a-...)` as text/plain (RFC 8951 5), or problem+json (RFC 9457) when
 * the Accept header asks for it. Of errors on our side nothing but the code gets out.
 * @param told.status in place of the one that belongs to the code
 */
export function refusalAnswer(
  error: GatewayError,
  told: { attemptId: string; accept: string | undefined; status?: number | undefined },
): EstAnswer {
  const { detail, retryAfter, ...refusal } = tellRefusal(error);
  const { attemptId, accept, status = refusal.status } = told;
  const headers = {
    ...(status === 401 ? { 'WWW-Authenticate': CHALLENGE } : {}),
    ...(retryAfter === undefined ? {} : { 'Retry-After': String(retryAfter) }),
  };
  if (wantsJson(accept)) {
    const problem: Problem & { attemptId: string } = {
      type: 'about:blank',
      title: STATUS_CODES[status] ?? 'Error',
      status,
      code: error.code,
      detail,
      attemptId,
    };
    return { status, contentType: 'application/problem+json', body: JSON.stringify(problem), headers };
  }
  const body = `${error.code}: ${detail} (attempt ${attemptId})\n`;
  return { status, contentType: 'text/plain; charset=utf-8', body, headers };
}

function wantsJson(accept: string | undefined): boolean {
  return accept !== undefined && /application\/(problem\+)?json/i.test(accept);
}
