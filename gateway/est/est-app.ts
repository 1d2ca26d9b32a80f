import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { ATTEMPT_HEADER, MAX_EST_BODY_BYTES } from '#gateway/contract/est.ts';
import { GatewayError, type GatewayErrorCode } from '#gateway/domain/gateway-error.ts';
import { isLikeTicket } from '#gateway/domain/ticket.ts';
import { attemptIdOf } from './attempt-id.ts';
import { addAttestationRoutes } from './attestation-routes.ts';
import { parseBasicCredentials } from './basic-credentials.ts';
import { CallerLimits } from './caller-limits.ts';
import { hasUsedExporter } from './channel-binding.ts';
import { addEnrollmentRoutes } from './enrollment-routes.ts';
import type { EstDeps, EstLimits } from './est-deps.ts';
import { methodsOf, readEstPath } from './est-paths.ts';
import type { EstServer } from './est-server.ts';
import { unmetHttpDemand } from './http-demands.ts';
import type { InFlightGate } from './in-flight-gate.ts';
import { addInformationRoutes } from './information-routes.ts';
import type { OpenConnections } from './open-connections.ts';
import { asGatewayError, refusalAnswer } from './refusal-answer.ts';
import { RefusalLog } from './refusal-log.ts';
import { addRenewalInfoRoute } from './renewal-info-route.ts';
import { askedBy } from './request-handling.ts';
import { type EstAnswer, sendAnswer } from './send-answer.ts';
import { SessionNonces } from './session-nonce.ts';
import { credentialsShown } from './shown-credentials.ts';

/** A client may go on sending what was already refused; past this it is cut, so that it cannot send for ever. */
const MAX_DISCARDED_BYTES = 8 * 1024 * 1024;

/** A certificate that is none of ours and no trusted maker's. */
const FOREIGN: readonly GatewayErrorCode[] = ['CERTIFICATE_UNKNOWN', 'MANUFACTURER_UNTRUSTED'];

/** The EST operations (RFC 7030) over an HTTPS server that somebody else listens with. */
export function buildEstApp(
  deps: EstDeps,
  server: EstServer,
  { limits, inFlight, open }: { limits: EstLimits; inFlight: InFlightGate; open: OpenConnections },
): FastifyInstance<EstServer> {
  const { clock, log } = deps;
  const callers = new CallerLimits(limits);
  const refusals = new RefusalLog(log, limits.refusalLogInterval);
  const startedAt = new WeakMap<object, number>();
  const modest = new WeakSet<object>();

  const app = Fastify<EstServer>({
    serverFactory: (handler) => server.on('request', handler),
    bodyLimit: MAX_EST_BODY_BYTES,
    genReqId: (request) => attemptIdOf(request.headers[ATTEMPT_HEADER.toLowerCase()], deps.randomness),
    requestIdHeader: false,
    exposeHeadRoutes: false,
    return503OnClosing: false,
    clientErrorHandler: () => {}, // answered by the server itself, see est-server.ts
    frameworkErrors: (error, request, reply) => refuse(request, reply, error),
  });
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
  app.setErrorHandler((error, request, reply) => refuse(request, reply, error));
  app.setNotFoundHandler((request, reply) => refuseUnknownPath(request, reply));
  app.addHook('onRequest', (request, reply, done) => {
    startedAt.set(request, clock.monotonic());
    const unmet = unmetHttpDemand(request.raw);
    if (unmet !== undefined) return refuse(request, reply, unmet.refusal, { status: unmet.status });
    // The router takes any label; a name that is none is no path here.
    if (!request.is404 && methodsOf(request.url) === undefined) return refuseUnknownPath(request, reply);
    // Before it is looked at who asks, and counted against nobody: past saturation refusals are most of the work.
    const overload = request.is404 || kindOf(request) === undefined ? undefined : inFlight.whyFull();
    return overload === undefined ? done() : refuse(request, reply, overload);
  });
  app.addHook('onClose', (_app, done) => {
    refusals.flush();
    done();
  });

  const handling = {
    deps,
    nonces: new SessionNonces(),
    checkCaller,
    operate,
    answer,
  };
  addInformationRoutes(app, handling);
  addEnrollmentRoutes(app, handling);
  addAttestationRoutes(app, handling);
  addRenewalInfoRoute(app, handling, limits);
  return app;

  function checkCaller(request: FastifyRequest): void {
    const now = clock.monotonic();
    callers.check(request, now);
    const isModest = callers.isModest(request, now);
    if (isModest) modest.add(request);
    // Already here, before the CSR is parsed.
    inFlight.requireRoom(isModest);
  }

  async function operate(request: FastifyRequest, reply: FastifyReply, work: () => Promise<EstAnswer>): Promise<void> {
    const [outcome] = await inFlight.pass(() => Promise.allSettled([work()]), modest.has(request));
    if (outcome.status === 'rejected') {
      refuse(request, reply, outcome.reason, { judged: 'by the operation', ...statusFor(request, outcome.reason) });
      return;
    }
    answer(request, reply, outcome.value);
    log.debug('est request granted', facts(request));
  }

  function refuse(
    request: FastifyRequest,
    reply: FastifyReply,
    error: unknown,
    { judged = 'here', status }: { judged?: 'here' | 'by the operation'; status?: number } = {},
  ): void {
    const refusal = callers.judgeRefusal(request, asGatewayError(error), clock.monotonic());
    const { code } = refusal;
    const kind = kindOf(request);
    if (judged === 'here' && kind !== undefined) recordHere(request, refusal, kind);
    const told = { ...facts(request), code, detail: refusal.message };
    if (code === 'INTERNAL') log.error('est request failed', { ...told, error: refusal.cause ?? refusal });
    // RFC 7030 4.2.3: no refusal, but an answer that comes later.
    else if (code === 'APPROVAL_PENDING') log.debug('est request waits for approval', told);
    // The operations log what they refuse themselves.
    else refusals.record(judged === 'here' ? 'info' : 'debug', request.ip, code, told);
    const { accept } = request.headers;
    const isSlowed = code === 'RATE_LIMITED';
    answer(request, reply, refusalAnswer(refusal, { attemptId: request.id, accept, ...(isSlowed ? {} : { status }) }));
  }

  function recordHere(request: FastifyRequest, error: GatewayError, kind: 'enroll' | 'reenroll' | 'challenge'): void {
    const milliseconds = elapsed(request);
    deps.metrics.enrollment(kind, error.code, milliseconds / 1000);
    const credentials = credentialsShown(request);
    deps.recordRefusal({ ...askedBy(request), kind, error, milliseconds, ...(credentials && { credentials }) });
  }

  function refuseUnknownPath(request: FastifyRequest, reply: FastifyReply): void {
    const allow = methodsOf(request.url);
    if (allow !== undefined) {
      const wrongMethod = new GatewayError('REQUEST_INVALID', `this path takes ${allow} only`);
      const { accept } = request.headers;
      const refusal = refusalAnswer(wrongMethod, { attemptId: request.id, accept, status: 405 });
      return answer(request, reply, { ...refusal, headers: { ...refusal.headers, Allow: allow } });
    }
    refuse(request, reply, new GatewayError('NOT_FOUND', 'there is nothing at this path'));
  }

  function answer(request: FastifyRequest, reply: FastifyReply, { headers, ...rest }: EstAnswer): void {
    reply.hijack();
    const isLast =
      !server.listening ||
      hasUsedExporter(request.raw.socket) ||
      // Who comes again over the same connection spares us a handshake, as long as there are places.
      (rest.status === 503 && open.isCrowded(request.ip));
    const message = { ...rest, headers: { ...headers, ...(isLast ? { Connection: 'close' } : {}) } };
    const isEarly = rest.status >= 400 && !request.raw.complete;
    sendAnswer(reply.raw, request.id, message, isEarly ? discardRest(request) : undefined);
  }

  function elapsed(request: FastifyRequest): number {
    const now = clock.monotonic();
    return now - (startedAt.get(request) ?? now);
  }

  function facts(request: FastifyRequest): Record<string, unknown> {
    return {
      attemptId: request.id,
      address: request.ip,
      method: request.method,
      path: request.url.split('?', 1)[0]?.slice(0, 100),
      deviceId: namedDevice(request),
      milliseconds: Math.round(elapsed(request)),
    };
  }
}

/** For the log. Who has taken user name and password for each other has sent a ticket here, which must not stand there. */
function namedDevice({ headers }: FastifyRequest): string | undefined {
  const deviceId = parseBasicCredentials(headers.authorization)?.deviceId;
  if (deviceId === undefined) return undefined;
  return isLikeTicket(deviceId) ? 'not logged: like a ticket' : deviceId.slice(0, 64);
}

/**
 * RFC 7030 3.2.3: where the certificate alone does not do, HTTP authentication is asked for. A client that shows some
 * certificate of its own and has a ticket sends the ticket only then.
 */
function statusFor(request: FastifyRequest, error: unknown): { status?: number } {
  const isForeign = error instanceof GatewayError && FOREIGN.includes(error.code);
  const mayHaveTicket = readEstPath(request.url)?.operation !== 'simplereenroll';
  return isForeign && mayHaveTicket && request.headers.authorization === undefined ? { status: 401 } : {};
}

function kindOf(request: FastifyRequest): 'enroll' | 'reenroll' | 'challenge' | undefined {
  switch (readEstPath(request.url)?.operation) {
    case 'simpleenroll':
    case 'serverkeygen':
      return 'enroll';
    case 'simplereenroll':
      return 'reenroll';
    case 'tpm-challenge':
      return 'challenge';
    case 'cacerts':
    case 'csrattrs':
    case 'nonce':
    case undefined:
      return undefined;
  }
}

/**
 * The rest of a refused body is read and thrown away, but not for ever: closing on a client that is still sending would
 * reset the connection and take the answer with it (RFC 9112 9.6).
 * @returns resolves when there is nothing more to come
 */
function discardRest({ raw }: FastifyRequest): Promise<void> {
  let discarded = 0;
  raw.on('data', (chunk: Buffer) => {
    discarded += chunk.length;
    if (discarded > MAX_DISCARDED_BYTES) raw.destroy();
  });
  return new Promise((resolve) => raw.once('end', resolve).once('close', resolve));
}
