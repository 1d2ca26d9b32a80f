import type { FastifyInstance } from 'fastify';
import { formatCertsOnly } from '#ca/pkix/cms.ts';
import { CONTENT_TYPE, DIRECTORY_PATH, type Directory } from '#gateway/contract/est.ts';
import { isTimeNonce, TIME_NONCE_HEADER } from '#gateway/contract/signed-time.ts';
import { DEFAULT_POLICY } from '#gateway/domain/group.ts';
import { routesOf } from './est-paths.ts';
import type { EstServer } from './est-server.ts';
import { labelledPolicy, type RequestHandling } from './request-handling.ts';
import { derAnswer, needsLines } from './send-answer.ts';
import { wantedCsrAttributes } from './wanted-csr-attributes.ts';

/** What everybody may know, without credentials (RFC 7030 4.1, 4.5). */
export function addInformationRoutes(app: FastifyInstance<EstServer>, { deps, answer }: RequestHandling): void {
  for (const path of routesOf('cacerts')) {
    app.get(path, async (request, reply) => {
      await labelledPolicy(deps, request);
      const { intermediateCertificate, rootCertificate, rolloverCertificates = [] } = deps.describeAuthority();
      // RFC 7030 4.1.3: the root and every subordinate on the way to it; while the root is replaced, what links both.
      const bundle = formatCertsOnly([intermediateCertificate, rootCertificate, ...rolloverCertificates]);
      answer(request, reply, derAnswer(bundle, CONTENT_TYPE.caCertificates, needsLines(request.headers['user-agent'])));
    });
  }

  for (const path of routesOf('csrattrs')) {
    app.get(path, async (request, reply) => {
      const policy = (await labelledPolicy(deps, request)) ?? (await deps.findPolicy(undefined)) ?? DEFAULT_POLICY;
      const lines = needsLines(request.headers['user-agent']);
      answer(request, reply, derAnswer(wantedCsrAttributes(policy), CONTENT_TYPE.csrAttributes, lines));
    });
  }

  app.get(DIRECTORY_PATH, (request, reply) => {
    const { trustDomain } = deps.describeAuthority();
    const nonce = request.headers[TIME_NONCE_HEADER.toLowerCase()];
    const directory: Directory = {
      version: 1,
      trustDomain,
      mqtt: deps.mqttAddress(),
      time: deps.clock.now(),
      // Whose clock is wrong cannot judge the dates of our certificates: the nonce tells that this was not said before.
      ...(isTimeNonce(nonce) ? { signedTime: deps.signTime(nonce) } : {}),
    };
    answer(request, reply, {
      status: 200,
      contentType: 'application/json',
      body: JSON.stringify(directory),
      headers: { 'Cache-Control': 'no-store' },
    });
  });
}
