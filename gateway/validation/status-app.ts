import type { Server } from 'node:http';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { formatPem } from '#ca/pkix/pem.ts';
import type { HealthCheck } from '#gateway/contract/operator-api.ts';
import { STATUS_CONTENT_TYPE, STATUS_PATHS } from '#gateway/contract/status-paths.ts';
import { sendDocument, strongEtag } from './cached-document.ts';
import { addListRoutes } from './list-routes.ts';
import { addOcspRoutes } from './ocsp-routes.ts';
import { RETRY_AFTER, sendText } from './plain-text.ts';
import { recentValue } from './recent-value.ts';
import type { StatusDeps, StatusOptions, StatusSources } from './status-deps.ts';

/** Milliseconds a health report is given out again before it is looked up anew. */
const HEALTH_LIFETIME = 1_000;
/** Seconds a cache may keep a CA certificate, which changes with years and then has another key, or the MQTT contract. */
const LASTING_AGE = 3600;
const STILL_STARTING = 'the gateway is starting\n';
const NOT_A_REQUEST = 'this is not a request that this door answers\n';
const STARTING: HealthCheck[] = [{ name: 'start', ok: false, detail: 'the gateway is starting' }];

/** What stands behind the door: nothing until the gateway can serve. */
export type StatusState = { sources: StatusSources | undefined };

export function buildStatusApp(
  deps: StatusDeps,
  options: StatusOptions,
  state: StatusState,
  server: Server,
): FastifyInstance {
  const { clock, log, metrics } = deps;
  const startedAt = clock.now();
  const app = Fastify({
    serverFactory: (handler) => server.on('request', handler),
    bodyLimit: 1024,
    return503OnClosing: false,
    requestIdHeader: false,
    // An OCSP request in a path is one long parameter.
    routerOptions: { maxParamLength: 4096 },
    frameworkErrors: (_error, _request, reply) => void sendText(reply, 400, NOT_A_REQUEST),
  });
  app.setNotFoundHandler((_request, reply) => sendText(reply, 404, 'there is nothing at this path\n'));
  app.setErrorHandler((error, request, reply) => {
    const status = error instanceof Error && 'statusCode' in error ? Number(error.statusCode) : 500;
    if (status < 500) return sendText(reply, status, NOT_A_REQUEST);
    log.error('status request failed', { path: request.url.slice(0, 100), address: request.ip, error });
    return sendText(reply, 503, 'this cannot be told now; try again later\n');
  });

  const health = recentValue(clock, HEALTH_LIFETIME, async () => (await state.sources?.checkHealth()) ?? STARTING);

  addListRoutes(app, deps, options, state);
  addOcspRoutes(app, deps, options, state);

  /** What stays the same while this process lives, or changes with years. */
  const sendLasting = (request: FastifyRequest, reply: FastifyReply, body: Buffer, contentType: string) => {
    const now = clock.now();
    const expires = now + LASTING_AGE * 1000;
    return sendDocument(
      request,
      reply,
      { body, contentType, etag: strongEtag(body), lastModified: startedAt, expires },
      now,
    );
  };

  const certificates = [
    [STATUS_PATHS.intermediate, 'intermediateCertificate', 'cer'],
    [STATUS_PATHS.root, 'rootCertificate', 'cer'],
    [STATUS_PATHS.intermediatePem, 'intermediateCertificate', 'pem'],
    [STATUS_PATHS.rootPem, 'rootCertificate', 'pem'],
  ] as const;
  for (const [path, which, form] of certificates) {
    app.get(path, (request, reply) => {
      const der = state.sources?.describeAuthority()[which];
      if (der === undefined) return sendText(reply, 503, STILL_STARTING);
      return form === 'pem'
        ? sendLasting(request, reply, Buffer.from(formatPem('CERTIFICATE', der)), STATUS_CONTENT_TYPE.pem)
        : sendLasting(request, reply, der, STATUS_CONTENT_TYPE.certificate);
    });
  }

  // Of the issuers that came after the first, by their key id.
  app.get<{ Params: { keyId: string } }>('/ca/:keyId.cer', (request, reply) => {
    const { keyId } = request.params;
    const issuer = state.sources?.describeAuthority().issuers?.find((one) => one.keyId === keyId);
    if (issuer === undefined) return sendText(reply, 404, 'there is nothing at this path\n');
    return sendLasting(request, reply, issuer.certificate, STATUS_CONTENT_TYPE.certificate);
  });

  let contract: Buffer | undefined;
  app.get(STATUS_PATHS.mqttContract, (request, reply) => {
    if (state.sources === undefined) return sendText(reply, 503, STILL_STARTING);
    contract ??= Buffer.from(JSON.stringify(state.sources.mqttContract));
    return sendLasting(request, reply, contract, STATUS_CONTENT_TYPE.json);
  });

  app.get(STATUS_PATHS.metrics, async (_request, reply) =>
    reply
      .header('Cache-Control', 'no-store')
      .type(metrics.contentType)
      .send(await metrics.text()),
  );

  // Alive: this process answers. Nothing else, or a sick database would have a healthy process restarted for ever.
  app.get(STATUS_PATHS.healthz, (_request, reply) => sendText(reply, 200, 'ok\n'));

  // Ready: can issue and authenticate now.
  app.get(STATUS_PATHS.readyz, async (_request, reply) => {
    // Not kept while starting: the first moment it can serve is told at once.
    const checks = state.sources === undefined ? STARTING : await health();
    const ready = checks.every(({ ok }) => ok);
    if (!ready) reply.header('Retry-After', RETRY_AFTER);
    return reply
      .code(ready ? 200 : 503)
      .header('Cache-Control', 'no-store')
      .send({ ready, checks });
  });
  return app;
}
