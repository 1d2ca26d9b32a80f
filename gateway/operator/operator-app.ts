import type { Server } from 'node:http';
import type { Server as SecureServer } from 'node:https';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { OPERATOR_DOCUMENTS } from '#gateway/contract/operator-paths.ts';
import { parseBoundedJson } from '#gateway/contract/parse-bounded-json.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { Log } from '#gateway/ports/log.ts';
import { describeOpenApi } from './openapi.ts';
import type { OperatorOperations } from './operator-operations.ts';
import { asOperatorError, problemOf } from './operator-problem.ts';
import { ROUTES } from './operator-routes.ts';
import { pathOf } from './route-definition.ts';
import { START_PAGE } from './start-page.ts';

export type OperatorDeps = {
  operations: OperatorOperations;
  clock: Clock;
  log: Log;
  /** Of the gateway, for the OpenAPI document. */
  version: string;
  /** The AsyncAPI document of the MQTT door. */
  mqttContract: Readonly<Record<string, unknown>>;
};

/** The name under which a request is audited, or undefined when nobody vouches for who sent it. */
export type Authenticate = (request: FastifyRequest) => string | undefined;

const MAX_BODY_BYTES = 64 * 1024;

/** All that may be seen by anybody. */
const PUBLIC_PATHS: readonly string[] = ['/', ...Object.values(OPERATOR_DOCUMENTS)];

const HEADERS = {
  // Answers hold tickets and the state of devices: nothing of it belongs into a cache.
  'Cache-Control': 'no-store',
  'X-Content-Type-Options': 'nosniff',
  'Content-Security-Policy': "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
  'Referrer-Policy': 'no-referrer',
};

export function buildOperatorApp(
  deps: OperatorDeps,
  authenticate: Authenticate,
  server: Server | SecureServer,
): FastifyInstance {
  const { clock, log, operations } = deps;
  const callers = new WeakMap<FastifyRequest, { actor: string; requestedAt: number }>();
  const app = Fastify({
    serverFactory: (handler) => (server as Server).on('request', handler),
    bodyLimit: MAX_BODY_BYTES,
    exposeHeadRoutes: false,
    return503OnClosing: false,
    requestIdHeader: false,
    frameworkErrors: (error, request, reply) => {
      refuse(request, reply, error);
    },
  });
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('application/json', { parseAs: 'string' }, async (_request: FastifyRequest, body: string) =>
    parseJson(body),
  );
  app.setErrorHandler((error, request, reply) => refuse(request, reply, error));
  app.setNotFoundHandler((request, reply) =>
    refuse(request, reply, new GatewayError('NOT_FOUND', 'there is no such call: see /openapi.json')),
  );

  // Deny by default, before the body is read and whatever the path: a route added later is not open by being forgotten.
  app.addHook('onRequest', (request, reply, done) => {
    const requestedAt = clock.monotonic();
    reply.headers(HEADERS);
    if (PUBLIC_PATHS.includes(request.url.split('?', 1)[0] ?? '') && request.method === 'GET') return done();
    const actor = authenticate(request);
    if (actor === undefined) {
      return done(
        new GatewayError(
          'OPERATOR_NOT_AUTHENTICATED',
          'nobody can sign in here in this version: use the `gatehouse` command on the host of the gateway',
        ),
      );
    }
    callers.set(request, { actor, requestedAt });
    return done();
  });

  for (const route of ROUTES) {
    app.route({
      method: pathOf(route).method,
      url: pathOf(route).path,
      bodyLimit: route.bodyLimit ?? MAX_BODY_BYTES,
      handler: async (request, reply) => {
        const caller = callers.get(request);
        if (caller === undefined) throw new GatewayError('OPERATOR_NOT_AUTHENTICATED', 'nobody is signed in');
        const { params, query, body } = request;
        return reply.code(route.status).send(await route.answer(operations, { params, query, body }, caller));
      },
    });
  }

  const document = describeOpenApi(deps.version);
  app.get(OPERATOR_DOCUMENTS.operator, (_request, reply) => reply.send(document));
  app.get(OPERATOR_DOCUMENTS.mqtt, (_request, reply) => reply.send(deps.mqttContract));
  app.get('/', (_request, reply) => reply.type('text/html; charset=utf-8').send(START_PAGE));
  return app;

  function refuse(request: FastifyRequest, reply: FastifyReply, error: unknown): FastifyReply {
    const refusal = asOperatorError(error);
    const problem = problemOf(refusal);
    const facts = {
      method: request.method,
      path: request.url.split('?', 1)[0]?.slice(0, 200),
      actor: callers.get(request)?.actor,
      code: refusal.code,
      detail: refusal.message,
    };
    if (refusal.code === 'INTERNAL') log.error('operator request failed', { ...facts, error: refusal.cause ?? error });
    else log.info('operator request refused', facts);
    // RFC 9110 11.6.1: a 401 names a scheme, also one that nobody has a token for yet.
    if (problem.status === 401) reply.header('WWW-Authenticate', 'Bearer realm="gatehouse"');
    if (refusal.retryAfter !== undefined) reply.header('Retry-After', String(Math.ceil(refusal.retryAfter)));
    // As bytes: to text Fastify would add a charset, which this media type does not have.
    return reply
      .code(problem.status)
      .type('application/problem+json')
      .send(Buffer.from(JSON.stringify(problem)));
  }
}

function parseJson(text: string): unknown {
  if (text.trim() === '') return undefined;
  try {
    return parseBoundedJson(text);
  } catch (cause) {
    throw new GatewayError('REQUEST_INVALID', 'the body is not JSON', { cause });
  }
}
