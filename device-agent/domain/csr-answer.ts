import type { CsrAnswer } from '#gateway/contract/csr-messages.ts';
import { parseSuggestedWindow } from '#gateway/contract/renewal-info.ts';
import { readableText } from './readable-text.ts';

/**
 * An answer of the gateway to a CSR message. Unknown fields are ignored; what is missing is given a harmless value, so
 * that the status alone decides. @returns undefined when it is none that this version understands.
 */
export function parseCsrAnswer(payload: Buffer): CsrAnswer | undefined {
  const fields = parseJsonObject(payload);
  if (fields?.['version'] !== 1) return undefined;
  const {
    requestId,
    status,
    code,
    detail,
    attemptId,
    transient,
    retryAfter,
    certificate,
    chain,
    tpmChallenge,
    suggestedWindow,
  } = fields;
  if (typeof requestId !== 'string' || typeof status !== 'number' || !Number.isInteger(status)) return undefined;
  const window = parseSuggestedWindow(suggestedWindow);
  return {
    version: 1,
    requestId,
    status,
    code: textOf(code),
    detail: textOf(detail),
    attemptId: textOf(attemptId),
    transient: typeof transient === 'boolean' ? transient : status === 429 || status >= 500,
    ...(typeof retryAfter === 'number' && retryAfter >= 0 ? { retryAfter } : {}),
    ...(typeof certificate === 'string' ? { certificate } : {}),
    ...(Array.isArray(chain) ? { chain: chain.filter((item) => typeof item === 'string') } : {}),
    ...(window === undefined ? {} : { suggestedWindow: window }),
    ...(isRecord(tpmChallenge) ? { tpmChallenge: tpmChallenge as CsrAnswer['tpmChallenge'] & object } : {}),
  };
}

function parseJsonObject(payload: Buffer): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(payload.toString('utf8'));
    return isRecord(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? readableText(value) : '';
}
