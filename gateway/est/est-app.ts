import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { formatCertsOnly } from '#ca/pkix/cms.ts';
import { NONCE_PATH, TPM_CHALLENGE_PATH } from '#gateway/contract/attestation.ts';
import {
  ATTEMPT_HEADER,
  CONTENT_TYPE,
  DIRECTORY_PATH,
  type Directory,
  EST_BASE_PATH,
  MAX_EST_BODY_BYTES,
} from '#gateway/contract/est.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import { attemptIdOf } from './attempt-id.ts';
import { addAttestationRoutes } from './attestation-routes.ts';
import { parseBasicCredentials } from './basic-credentials.ts';
import { CallerLimits } from './caller-limits.ts';
import { requireChannelBinding } from './channel-binding.ts';
import type { EnrollmentAnswer, EstDeps, EstLimits, TpmChallengeOrder } from './est-deps.ts';
import type { EstServer } from './est-server.ts';
import { unmetHttpDemand } from './http-demands.ts';
import { InFlightGate } from './in-flight-gate.ts';
import { peerCertificateOf } from './peer-certificate.ts';
import { checkCsrContentType, parseCsrBody } from './read-csr-body.ts';
import { asGatewayError, refusalAnswer } from './refusal-answer.ts';
import { RefusalLog } from './refusal-log.ts';
import { derAnswer, type EstAnswer, needsLines, sendAnswer } from './send-answer.ts';
import { SessionNonces } from './session-nonce.ts';
import { WANTED_CSR_ATTRIBUTES } from './wanted-csr-attributes.ts';

type Kind = 'enroll' | 'reenroll' | 'challenge';

const PATHS: Record<string, 'GET' | 'POST' | 'GET, POST'> = {
  [`${EST_BASE_PATH}/cacerts`]: 'GET',
  [`${EST_BASE_PATH}/csrattrs`]: 'GET',
  [`${EST_BASE_PATH}/simpleenroll`]: 'POST',
  [`${EST_BASE_PATH}/simplereenroll`]: 'POST',
  [TPM_CHALLENGE_PATH]: 'POST',
  [NONCE_PATH]: 'GET, POST',
  [DIRECTORY_PATH]: 'GET',
};

/** A client may go on sending what was already refused; past this it is cut, so that it cannot send for ever. */
const MAX_DISCARDED_BYTES = 8 * 1024 * 1024;

/** The EST operations (RFC 7030) over an HTTPS server that somebody else listens with. */
export function buildEstApp(deps: EstDeps, server: EstServer, limits: EstLimits): FastifyInstance<EstServer> {
  const { clock, log } = deps;
  const gate = new InFlightGate(limits.inFlight);
  const callers = new CallerLimits(limits);
  const nonces = new SessionNonces();
  const refusals = new RefusalLog(log, limits.refusalLogInterval);
  const startedAt = new WeakMap<object, number>();

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
    if (unmet === undefined) return done();
    return refuse(request, reply, unmet.refusal, { status: unmet.status });
  });
  app.addHook('onClose', (_app, done) => {
    refusals.flush();
    done();
  });

  // RFC 7030 4.1: no credentials needed; root and every subordinate on the way to it.
  app.get(`${EST_BASE_PATH}/cacerts`, (request, reply) => {
    const { rootCertificate, intermediateCertificate } = deps.describeAuthority();
    const bundle = formatCertsOnly([intermediateCertificate, rootCertificate]);
    answer(request, reply, derAnswer(bundle, CONTENT_TYPE.caCertificates, needsLines(request.headers['user-agent'])));
  });

  app.get(`${EST_BASE_PATH}/csrattrs`, (request, reply) => {
    const lines = needsLines(request.headers['user-agent']);
    answer(request, reply, derAnswer(WANTED_CSR_ATTRIBUTES, CONTENT_TYPE.csrAttributes, lines));
  });

  app.get(DIRECTORY_PATH, (request, reply) => {
    const { trustDomain } = deps.describeAuthority();
    const directory: Directory = { version: 1, trustDomain, mqtt: deps.mqttAddress(), time: clock.now() };
    answer(request, reply, {
      status: 200,
      contentType: 'application/json',
      body: JSON.stringify(directory),
      headers: { 'Cache-Control': 'no-store' },
    });
  });

  // Who asks, and what kind of body, is judged before the body is read.
  app.post(`${EST_BASE_PATH}/simpleenroll`, {
    onRequest: (request, _reply, done) => {
      callers.check(request, clock.monotonic());
      credentialsOf(request);
      checkCsrContentType(request.headers['content-type']);
      done();
    },
    handler: (request, reply) => {
      const { deviceId, ticket } = credentialsOf(request);
      return issue(request, reply, (csr) =>
        deps.enrollDevice({ ...asked(request), ...nonceOf(request), deviceId, ticket, csr }),
      );
    },
  });

  app.post(`${EST_BASE_PATH}/simplereenroll`, {
    onRequest: (request, _reply, done) => {
      callers.check(request, clock.monotonic());
      currentCertificateOf(request);
      checkCsrContentType(request.headers['content-type']);
      done();
    },
    handler: (request, reply) => {
      const { der: peer } = currentCertificateOf(request);
      return issue(request, reply, (csr) => deps.reenrollDevice({ ...asked(request), ...nonceOf(request), peer, csr }));
    },
  });

  addAttestationRoutes(app, {
    deps,
    nonces,
    checkCaller: (request) => callers.check(request, clock.monotonic()),
    challengeCredentialsOf,
    operate,
    answer,
  });

  return app;

  function nonceOf(request: FastifyRequest): { nonce?: Buffer } {
    const nonce = nonces.take(request.raw.socket, clock.monotonic());
    return nonce === undefined ? {} : { nonce };
  }

  async function issue(
    request: FastifyRequest,
    reply: FastifyReply,
    work: (csr: Buffer) => Promise<EnrollmentAnswer>,
  ): Promise<void> {
    const { csr, hadLines } = parseCsrBody(request.body);
    requireChannelBinding(csr, request.raw.socket);
    await operate(request, reply, async () => {
      const { certificate } = await work(csr);
      // RFC 7030 4.2.3: the answer holds the issued certificate only.
      const lines = hadLines || needsLines(request.headers['user-agent']);
      return derAnswer(formatCertsOnly([certificate]), CONTENT_TYPE.certsOnly, lines);
    });
  }

  async function operate(request: FastifyRequest, reply: FastifyReply, work: () => Promise<EstAnswer>): Promise<void> {
    const [outcome] = await gate.pass(() => Promise.allSettled([work()]));
    if (outcome.status === 'rejected') {
      refuse(request, reply, outcome.reason, { judged: 'by the operation' });
      return;
    }
    answer(request, reply, outcome.value);
    log.debug('est request granted', facts(request));
  }

  function refuse(
    request: FastifyRequest,
    reply: FastifyReply,
    error: unknown,
    { judged = 'here', ...status }: { judged?: 'here' | 'by the operation'; status?: number } = {},
  ): void {
    const refusal = callers.judgeRefusal(request, asGatewayError(error), clock.monotonic());
    const { code } = refusal;
    const kind = kindOf(request);
    if (judged === 'here' && kind !== undefined) deps.metrics.enrollment(kind, code, elapsed(request) / 1000);
    const told = { ...facts(request), code, detail: refusal.message };
    if (code === 'INTERNAL') log.error('est request failed', { ...told, error: refusal.cause ?? refusal });
    // The operations log what they refuse themselves.
    else refusals.record(judged === 'here' ? 'info' : 'debug', request.ip, code, told);
    answer(request, reply, { ...refusalAnswer(refusal, request.id, request.headers.accept), ...status });
  }

  function refuseUnknownPath(request: FastifyRequest, reply: FastifyReply): void {
    const [path = ''] = request.url.split('?', 1);
    const method = Object.hasOwn(PATHS, path) ? PATHS[path] : undefined;
    if (method !== undefined) {
      const wrongMethod = new GatewayError('REQUEST_INVALID', `this path takes ${method} only`);
      const refusal = refusalAnswer(wrongMethod, request.id, request.headers.accept);
      return answer(request, reply, { ...refusal, status: 405, headers: { ...refusal.headers, Allow: method } });
    }
    const [, label, operation] = /^\/\.well-known\/est\/([^/]+)\/([^/]+)$/.exec(path) ?? [];
    const what =
      label !== undefined && operation !== undefined
        ? 'this gateway has one CA and no EST labels: use the path without the label'
        : 'there is nothing at this path';
    refuse(request, reply, new GatewayError('NOT_FOUND', what));
  }

  function answer(request: FastifyRequest, reply: FastifyReply, { headers, ...rest }: EstAnswer): void {
    reply.hijack();
    const closing = server.listening ? {} : { Connection: 'close' };
    const message = { ...rest, headers: { ...headers, ...closing } };
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
      deviceId: parseBasicCredentials(request.headers.authorization)?.deviceId.slice(0, 64),
      milliseconds: Math.round(elapsed(request)),
    };
  }
}

function asked(request: FastifyRequest): { attemptId: string; address: string } {
  return { attemptId: request.id, address: request.ip };
}

function kindOf(request: FastifyRequest): Kind | undefined {
  if (request.url.startsWith(`${EST_BASE_PATH}/simpleenroll`)) return 'enroll';
  if (request.url.startsWith(`${EST_BASE_PATH}/simplereenroll`)) return 'reenroll';
  return request.url.startsWith(TPM_CHALLENGE_PATH) ? 'challenge' : undefined;
}

function credentialsOf(request: FastifyRequest): { deviceId: string; ticket: string } {
  const credentials = parseBasicCredentials(request.headers.authorization);
  if (credentials !== undefined) return credentials;
  throw new GatewayError('CREDENTIALS_MISSING', 'the first enrollment needs a ticket');
}

/** The ticket when one is sent, as for simpleenroll; else the certificate, as for simplereenroll. */
function challengeCredentialsOf(request: FastifyRequest): TpmChallengeOrder['credentials'] {
  if (request.headers.authorization !== undefined) return credentialsOf(request);
  const peer = peerCertificateOf(request.raw.socket);
  return peer === undefined ? credentialsOf(request) : { peer: peer.der };
}

/** RFC 7030 3.3.2: the certificate to be renewed authenticates the TLS session. */
function currentCertificateOf(request: FastifyRequest): { der: Buffer } {
  const peer = peerCertificateOf(request.raw.socket);
  if (peer !== undefined) return peer;
  throw new GatewayError(
    'CREDENTIALS_MISSING',
    'no client certificate was shown: re-enroll over TLS with the current certificate, or use simpleenroll',
  );
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
