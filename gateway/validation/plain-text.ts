import type { FastifyReply } from 'fastify';

/** Seconds. */
export const RETRY_AFTER = '5';

/** Words for a person, not to be kept. */
export function sendText(reply: FastifyReply, status: number, body: string): FastifyReply {
  if (status === 503) reply.header('Retry-After', RETRY_AFTER);
  return reply.code(status).header('Cache-Control', 'no-store').type('text/plain; charset=utf-8').send(body);
}
