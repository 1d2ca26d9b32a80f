import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { NONCE_CONTENT_TYPE } from '#gateway/contract/attestation.ts';
import {
  checkJsonContentType,
  formatChallengeAnswer,
  parseChallengeBody,
  parseNonceBody,
} from './attestation-bodies.ts';
import type { TpmChallengeOrder } from './est-deps.ts';
import { routesOf } from './est-paths.ts';
import type { EstServer } from './est-server.ts';
import { askedBy, labelledPolicy, type RequestHandling } from './request-handling.ts';
import { DEFAULT_NONCE_BYTES, NONCE_LIFE_SECONDS } from './session-nonce.ts';
import { enrollCredentialsOf } from './shown-credentials.ts';

const NO_STORE = { 'Cache-Control': 'no-store' };

/** The round trip before an attested CSR: a credential challenge, or a nonce for a TPM that is known. */
export function addAttestationRoutes(app: FastifyInstance<EstServer>, door: RequestHandling): void {
  const { deps, nonces } = door;

  for (const path of routesOf('tpm-challenge'))
    app.post(path, {
      // Who asks, and what kind of body, is judged before the body is read.
      onRequest: async (request) => {
        door.checkCaller(request);
        await labelledPolicy(deps, request);
        enrollCredentialsOf(request);
        checkJsonContentType(request.headers['content-type']);
      },
      handler: (request, reply) => {
        const order: TpmChallengeOrder = {
          ...askedBy(request),
          credentials: enrollCredentialsOf(request),
          ...parseChallengeBody(request.body),
        };
        return door.operate(request, reply, async () => ({
          status: 200,
          contentType: 'application/json',
          body: formatChallengeAnswer(await deps.createTpmChallenge(order)),
          headers: NO_STORE,
        }));
      },
    });

  // draft-ietf-lamps-attestation-freshness; no credentials: it costs nothing and is worth nothing on another session.
  for (const path of routesOf('nonce')) {
    app.get(path, (request, reply) => giveNonce(request, reply, DEFAULT_NONCE_BYTES));
    app.post(path, {
      onRequest: (request, _reply, done) => {
        checkJsonContentType(request.headers['content-type']);
        done();
      },
      handler: (request, reply) => giveNonce(request, reply, parseNonceBody(request.body)),
    });
  }

  function giveNonce(request: FastifyRequest, reply: FastifyReply, length: number): void {
    const nonce = deps.randomness.bytes(length);
    nonces.give(request.raw.socket, nonce, deps.clock.monotonic());
    const body = JSON.stringify({ nonce: nonce.toString('base64url'), expiry: NONCE_LIFE_SECONDS });
    door.answer(request, reply, { status: 200, contentType: NONCE_CONTENT_TYPE, body, headers: NO_STORE });
  }
}
