import type { ServerResponse } from 'node:http';
import { ATTEMPT_HEADER, formatEstBody } from '#gateway/contract/est.ts';

export type EstAnswer = {
  status: number;
  contentType: string;
  body: string;
  /** The body is base64 of DER. */
  base64?: boolean;
  headers?: Record<string, string>;
};

/**
 * The one place that writes an answer. EST clients in the field compare header names with their capitals, want a
 * Content-Length instead of chunks, few headers, and all of them early; so they are written here as they stand, past
 * Fastify, which would lower-case them. BouncyCastle reads base64 only when told so by Content-Transfer-Encoding,
 * a header that RFC 8951 3 asks everybody else to ignore.
 * @param mayEnd the answer is sent at once, but the exchange not ended before this
 */
export function sendAnswer(
  response: ServerResponse,
  attemptId: string,
  answer: EstAnswer,
  mayEnd?: Promise<void>,
): void {
  if (response.headersSent || response.destroyed) return;
  response.writeHead(answer.status, {
    'Content-Type': answer.contentType,
    'Content-Length': String(Buffer.byteLength(answer.body)),
    ...(answer.base64 === true ? { 'Content-Transfer-Encoding': 'base64' } : {}),
    [ATTEMPT_HEADER]: attemptId,
    ...answer.headers,
  });
  if (mayEnd === undefined) {
    response.end(answer.body);
    return;
  }
  response.write(answer.body);
  // It never rejects.
  void mayEnd.then(() => response.end());
}

/** libest cannot read more than 1 KiB of base64 on one line; strongSwan cannot read it on more than one. */
export function needsLines(userAgent: string | undefined): boolean {
  return userAgent !== undefined && /libest/i.test(userAgent);
}

export function derAnswer(der: Uint8Array, contentType: string, lines: boolean): EstAnswer {
  return { status: 200, contentType, body: formatEstBody(der, { lines }), base64: true };
}
