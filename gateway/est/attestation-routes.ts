import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { NONCE_CONTENT_TYPE, NONCE_PATH, TPM_CHALLENGE_PATH } from '#gateway/contract/attestation.ts';
import {
  checkJsonContentType,
  formatChallengeAnswer,
  parseChallengeBody,
  parseNonceBody,
} from './attestation-bodies.ts';
import type { EstDeps, TpmChallengeOrder } from './est-deps.ts';
import type { EstServer } from './est-server.ts';
import type { EstAnswer } from './send-answer.ts';
import { DEFAULT_NONCE_BYTES, NONCE_LIFE_SECONDS, type SessionNonces } from './session-nonce.ts';

/** What these routes use of the door they belong to. */
export type AttestationDoor = {
  deps: Pick<EstDeps, 'clock' | 'randomness' | 'createTpmChallenge'>;
  nonces: SessionNonces;
  /** @throws GatewayError RATE_LIMITED */
  checkCaller(request: FastifyRequest): void;
  /** @throws GatewayError CREDENTIALS_MISSING */
  challengeCredentialsOf(request: FastifyRequest): TpmChallengeOrder['credentials'];
  /** Through the gate that bounds what is worked on at once; refusals are answered there. */
  operate(request: FastifyRequest, reply: FastifyReply, work: () => Promise<EstAnswer>): Promise<void>;
  answer(request: FastifyRequest, reply: FastifyReply, answer: EstAnswer): void;
};

const NO_STORE = { 'Cache-Control': 'no-store' };

/** The round trip before an attested CSR: a credential challenge, or a nonce for a TPM that is known. */
export function addAttestationRoutes(app: FastifyInstance<EstServer>, door: AttestationDoor): void {
  const { deps, nonces } = door;

  app.post(TPM_CHALLENGE_PATH, {
    // Who asks, and what kind of body, is judged before the body is read.
    onRequest: (request, _reply, done) => {
      door.checkCaller(request);
      door.challengeCredentialsOf(request);
      checkJsonContentType(request.headers['content-type']);
      done();
    },
    handler: (request, reply) => {
      const order: TpmChallengeOrder = {
        attemptId: request.id,
        address: request.ip,
        credentials: door.challengeCredentialsOf(request),
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
  app.get(NONCE_PATH, (request, reply) => giveNonce(request, reply, DEFAULT_NONCE_BYTES));
  app.post(NONCE_PATH, {
    onRequest: (request, _reply, done) => {
      checkJsonContentType(request.headers['content-type']);
      done();
    },
    handler: (request, reply) => giveNonce(request, reply, parseNonceBody(request.body)),
  });

  function giveNonce(request: FastifyRequest, reply: FastifyReply, length: number): void {
    const nonce = deps.randomness.bytes(length);
    nonces.give(request.raw.socket, nonce, deps.clock.monotonic());
    const body = JSON.stringify({ nonce: nonce.toString('base64url'), expiry: NONCE_LIFE_SECONDS });
    door.answer(request, reply, { status: 200, contentType: NONCE_CONTENT_TYPE, body, headers: NO_STORE });
  }
}
