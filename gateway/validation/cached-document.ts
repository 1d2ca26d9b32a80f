import { createHash } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';

/** Bytes that caches may keep. Times are milliseconds UTC. */
export type CachedDocument = {
  body: Buffer;
  contentType: string;
  etag: string;
  lastModified: number;
  /** Not to be used after this. */
  expires: number;
};

export function strongEtag(body: Uint8Array): string {
  return `"${createHash('sha256').update(body).digest('base64url')}"`;
}

/**
 * 200 with the body, or 304 when the client has it already (RFC 9110 13.1.2, 13.1.3).
 * @param cacheRules what Cache-Control says beside the age
 */
export function sendDocument(
  request: FastifyRequest,
  reply: FastifyReply,
  document: CachedDocument,
  now: number,
  cacheRules = '',
): FastifyReply {
  const maxAge = Math.max(0, Math.floor((document.expires - now) / 1000));
  reply.headers({
    ETag: document.etag,
    'Last-Modified': new Date(document.lastModified).toUTCString(),
    'Cache-Control': `public, max-age=${maxAge}${cacheRules}`,
    // For caches of HTTP/1.0, which know nothing else.
    Expires: new Date(now + maxAge * 1000).toUTCString(),
  });
  return hasIt(request, document) ? reply.code(304).send() : reply.type(document.contentType).send(document.body);
}

function hasIt({ headers }: FastifyRequest, { etag, lastModified }: CachedDocument): boolean {
  const ifNoneMatch = headers['if-none-match'];
  // RFC 9110 13.1.3: If-Modified-Since is ignored beside If-None-Match.
  if (ifNoneMatch !== undefined) {
    return ifNoneMatch.split(',').some((tag) => tag.trim() === '*' || tag.trim().replace(/^W\//, '') === etag);
  }
  const since = Date.parse(headers['if-modified-since'] ?? '');
  // HTTP dates know seconds only.
  return !Number.isNaN(since) && Math.floor(lastModified / 1000) * 1000 <= since;
}
