import type { Server } from 'node:http';
import Fastify, { type FastifyInstance, type FastifyReply } from 'fastify';
import { formatPem } from '#ca/pkix/pem.ts';
import type { HealthCheck } from '#gateway/contract/operator-api.ts';
import { STATUS_CONTENT_TYPE, STATUS_PATHS } from '#gateway/contract/status-paths.ts';
import { type CachedDocument, sendDocument, strongEtag } from './cached-document.ts';
import { recentValue } from './recent-value.ts';
import type { StatusDeps, StatusOptions, StatusSources } from './status-deps.ts';

/** Milliseconds a health report, and a CRL, is given out again before it is looked up anew. */
const HEALTH_LIFETIME = 1_000;
const CRL_LIFETIME = 200;
/** Seconds a cache may keep a CA certificate: it changes with years, and its successor has another key. */
const CA_CERTIFICATE_AGE = 3600;
const DEFAULT_MAX_CRL_AGE = 300;
const RETRY_AFTER = '5';
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
  });
  app.setNotFoundHandler((_request, reply) => text(reply, 404, 'there is nothing at this path\n'));
  app.setErrorHandler((error, request, reply) => {
    const status = error instanceof Error && 'statusCode' in error ? Number(error.statusCode) : 500;
    if (status < 500) return text(reply, status, 'this is not a request that this door answers\n');
    log.error('status request failed', { path: request.url.slice(0, 100), address: request.ip, error });
    return text(reply, 503, 'this cannot be told now; try again later\n');
  });

  const latestCrl = recentValue(clock, CRL_LIFETIME, async (): Promise<CachedDocument | undefined> => {
    const crl = await state.sources?.latestCrl();
    if (crl === undefined) return undefined;
    return {
      body: crl.der,
      contentType: STATUS_CONTENT_TYPE.crl,
      etag: strongEtag(crl.der),
      lastModified: crl.thisUpdate,
      expires: crl.nextUpdate,
    };
  });
  const health = recentValue(clock, HEALTH_LIFETIME, async () => (await state.sources?.checkHealth()) ?? STARTING);

  app.get(STATUS_PATHS.crl, async (request, reply) => {
    const crl = state.sources === undefined ? undefined : await latestCrl();
    if (crl === undefined) return text(reply, 503, 'there is no CRL yet\n');
    const now = clock.now();
    const mostlyFresh = now + (options.maxCrlAge ?? DEFAULT_MAX_CRL_AGE) * 1000;
    return sendDocument(request, reply, { ...crl, expires: Math.min(crl.expires, mostlyFresh) }, now);
  });

  const certificates = [
    [STATUS_PATHS.intermediate, 'intermediateCertificate', 'cer'],
    [STATUS_PATHS.root, 'rootCertificate', 'cer'],
    [STATUS_PATHS.intermediatePem, 'intermediateCertificate', 'pem'],
    [STATUS_PATHS.rootPem, 'rootCertificate', 'pem'],
  ] as const;
  for (const [path, which, form] of certificates) {
    app.get(path, (request, reply) => {
      const der = state.sources?.describeAuthority()[which];
      if (der === undefined) return text(reply, 503, 'the gateway is starting\n');
      const body = form === 'pem' ? Buffer.from(formatPem('CERTIFICATE', der)) : der;
      const now = clock.now();
      const contentType = form === 'pem' ? STATUS_CONTENT_TYPE.pem : STATUS_CONTENT_TYPE.certificate;
      const expires = now + CA_CERTIFICATE_AGE * 1000;
      return sendDocument(
        request,
        reply,
        { body, contentType, etag: strongEtag(body), lastModified: startedAt, expires },
        now,
      );
    });
  }

  app.get(STATUS_PATHS.metrics, async (_request, reply) =>
    reply
      .header('Cache-Control', 'no-store')
      .type(metrics.contentType)
      .send(await metrics.text()),
  );

  // Alive: this process answers. Nothing else, or a sick database would have a healthy process restarted for ever.
  app.get(STATUS_PATHS.healthz, (_request, reply) => text(reply, 200, 'ok\n'));

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

function text(reply: FastifyReply, status: number, body: string): FastifyReply {
  if (status === 503) reply.header('Retry-After', RETRY_AFTER);
  return reply.code(status).header('Cache-Control', 'no-store').type('text/plain; charset=utf-8').send(body);
}
