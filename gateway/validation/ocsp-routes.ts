import type { FastifyInstance, FastifyReply } from 'fastify';
import { STATUS_CONTENT_TYPE, STATUS_PATHS } from '#gateway/contract/status-paths.ts';
import { sendDocument } from './cached-document.ts';
import { sendText } from './plain-text.ts';
import type { StatusState } from './status-app.ts';
import { DEFAULT_MAX_STATUS_AGE, type StatusDeps, type StatusOptions } from './status-deps.ts';

/** 16 certificates and a nonce are 2 KB; a signed request brings its certificates. */
const MAX_REQUEST_BYTES = 16 * 1024;
const NOTHING = Buffer.alloc(0);

/**
 * OCSP over HTTP (RFC 6960 A, RFC 9919 6): POST with the request as the body; GET with it in base64 in the path, which
 * caches understand. What cannot be understood gets an OCSP answer, too, with status 200.
 */
export function addOcspRoutes(
  app: FastifyInstance,
  { clock }: StatusDeps,
  options: StatusOptions,
  state: StatusState,
): void {
  // Nothing else is ever posted here.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(
    STATUS_CONTENT_TYPE.ocspRequest,
    { parseAs: 'buffer', bodyLimit: MAX_REQUEST_BYTES },
    (_request, body, done) => done(null, body),
  );

  app.post<{ Body: unknown }>(STATUS_PATHS.ocsp, { bodyLimit: MAX_REQUEST_BYTES }, async ({ body }, reply) => {
    if (state.sources === undefined) return sendText(reply, 503, 'the gateway is starting\n');
    const { der } = await state.sources.answerOcsp(Buffer.isBuffer(body) ? body : NOTHING);
    return sendOnce(reply, der);
  });

  app.get<{ Params: { '*': string } }>(`${STATUS_PATHS.ocsp}/*`, async (request, reply) => {
    if (state.sources === undefined) return sendText(reply, 503, 'the gateway is starting\n');
    const answer = await state.sources.answerOcsp(readBase64(request.params['*']));
    const { kept } = answer;
    if (kept === undefined) return sendOnce(reply, answer.der);
    const now = clock.now();
    const expires = Math.min(kept.expires, now + (options.maxCrlAge ?? DEFAULT_MAX_STATUS_AGE) * 1000);
    const document = { ...kept, body: answer.der, contentType: STATUS_CONTENT_TYPE.ocspResponse, expires };
    // RFC 9919 6: nobody on the way changes it, and past its time it is asked for again.
    return sendDocument(request, reply, document, now, ', no-transform, must-revalidate');
  });
}

function sendOnce(reply: FastifyReply, der: Buffer): FastifyReply {
  return reply.header('Cache-Control', 'no-store').type(STATUS_CONTENT_TYPE.ocspResponse).send(der);
}

const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;

/** The path arrives with its percent signs resolved; `+` stays. Octets of no request are answered like one. */
function readBase64(path: string): Buffer {
  return BASE64.test(path) ? Buffer.from(path, 'base64') : NOTHING;
}
