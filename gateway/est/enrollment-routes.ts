import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { formatCertsOnly } from '#ca/pkix/cms.ts';
import { CONTENT_TYPE } from '#gateway/contract/est.ts';
import { formatSuggestedWindow, RENEWAL_WINDOW_HEADER } from '#gateway/contract/renewal-info.ts';
import type { VerifyBinding } from '#gateway/domain/channel-binding.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import { verifyBindingTo } from './channel-binding.ts';
import type { EnrollmentAnswer, EstCredentials } from './est-deps.ts';
import { routesOf } from './est-paths.ts';
import type { EstServer } from './est-server.ts';
import { peerCertificateOf } from './peer-certificate.ts';
import { type CsrBody, checkCsrContentType, parseCsrBody } from './read-csr-body.ts';
import { askedBy, labelledPolicy, type RequestHandling } from './request-handling.ts';
import { derAnswer, needsLines } from './send-answer.ts';
import { serverKeyAnswer } from './server-key-answer.ts';
import { byCertificate, currentCertificateOf, enrollCredentialsOf } from './shown-credentials.ts';

type ReadCsr = CsrBody & { verifyBinding: VerifyBinding };

/** RFC 7030 4.2 and 4.4. Who asks, and what kind of body, is judged before the body is read. */
export function addEnrollmentRoutes(app: FastifyInstance<EstServer>, handling: RequestHandling): void {
  const { deps, nonces, checkCaller, operate } = handling;

  for (const path of routesOf('simpleenroll')) {
    app.post(path, {
      onRequest: async (request) => {
        checkCaller(request);
        await labelledPolicy(deps, request);
        enrollCredentialsOf(request);
        checkCsrContentType(request.headers['content-type']);
      },
      handler: (request, reply) => {
        const asked = readCsr(request);
        return certify(request, reply, asked, () => enroll(request, asked, enrollCredentialsOf(request)));
      },
    });
  }

  for (const path of routesOf('simplereenroll')) {
    app.post(path, {
      onRequest: async (request) => {
        checkCaller(request);
        await labelledPolicy(deps, request);
        currentCertificateOf(request);
        checkCsrContentType(request.headers['content-type']);
      },
      handler: (request, reply) => {
        const asked = readCsr(request);
        const peer = currentCertificateOf(request);
        return certify(request, reply, asked, () => {
          // strongSwan posts to simplereenroll whenever it has a certificate. With one that is no identity of ours, as
          // its maker's, there is nothing to renew: it is a first enrollment, and judged as that.
          if (!peer.namesDeviceOf(deps.describeAuthority().trustDomain)) {
            return enroll(request, asked, byCertificate(peer));
          }
          const { csr, verifyBinding } = asked;
          return deps.reenrollDevice({
            ...askedBy(request),
            ...nonceOf(request),
            door: 'est',
            verifyBinding,
            peer: peer.der,
            csr,
          });
        });
      },
    });
  }

  for (const path of routesOf('serverkeygen')) {
    app.post(path, {
      onRequest: async (request) => {
        checkCaller(request);
        await requireServerKeygen(request);
        enrollCredentialsOf(request);
        checkCsrContentType(request.headers['content-type']);
      },
      handler: (request, reply) => {
        const { csr, verifyBinding, hadLines } = readCsr(request);
        const order = {
          ...askedBy(request),
          door: 'est',
          verifyBinding,
          credentials: enrollCredentialsOf(request),
          csr,
        } as const;
        return operate(request, reply, async () =>
          serverKeyAnswer(await deps.enrollWithServerKey(order), wantsLines(request, hadLines)),
        );
      },
    });
  }

  function enroll(
    request: FastifyRequest,
    { csr, verifyBinding }: ReadCsr,
    credentials: EstCredentials,
  ): Promise<EnrollmentAnswer> {
    return deps.enrollDevice({
      ...askedBy(request),
      ...nonceOf(request),
      door: 'est',
      verifyBinding,
      credentials,
      csr,
    });
  }

  function certify(
    request: FastifyRequest,
    reply: FastifyReply,
    { hadLines }: ReadCsr,
    work: () => Promise<EnrollmentAnswer>,
  ): Promise<void> {
    return operate(request, reply, async () => {
      const { certificate, window } = await work();
      // RFC 7030 4.2.3: the answer holds the issued certificate only.
      const answer = derAnswer(formatCertsOnly([certificate]), CONTENT_TYPE.certsOnly, wantsLines(request, hadLines));
      if (window === undefined) return answer;
      return { ...answer, headers: { [RENEWAL_WINDOW_HEADER]: formatSuggestedWindow(window) } };
    });
  }

  function nonceOf(request: FastifyRequest): { nonce?: Buffer } {
    const nonce = nonces.take(request.raw.socket, deps.clock.monotonic());
    return nonce === undefined ? {} : { nonce };
  }

  /** Without a label and credentials nobody knows whose group to look at: then the default group's word counts. */
  async function requireServerKeygen(request: FastifyRequest): Promise<void> {
    const isAnonymous =
      request.headers.authorization === undefined && peerCertificateOf(request.raw.socket) === undefined;
    const policy =
      (await labelledPolicy(deps, request)) ?? (isAnonymous ? await deps.findPolicy(undefined) : undefined);
    if (policy?.serverKeygen === true || (policy === undefined && !isAnonymous)) return;
    throw new GatewayError('SERVER_KEYGEN_OFF', 'no keys are made for devices here');
  }
}

function readCsr(request: FastifyRequest): ReadCsr {
  const { socket } = request.raw;
  return {
    ...parseCsrBody(request.body),
    verifyBinding: (challengePassword) => verifyBindingTo(socket, challengePassword),
  };
}

function wantsLines(request: FastifyRequest, hadLines: boolean): boolean {
  return hadLines || needsLines(request.headers['user-agent']);
}
