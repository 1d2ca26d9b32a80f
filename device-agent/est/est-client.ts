import { parseCertsOnly } from '#ca/pkix/cms.ts';
import { isPort } from '#device-agent/domain/agent-config.ts';
import { AgentError } from '#device-agent/domain/agent-error.ts';
import { isAttemptId } from '#device-agent/domain/attempt-id.ts';
import type {
  EnrollmentAnswer,
  EnrollmentRequest,
  EstClient,
  EstSession,
  EstTarget,
  TpmChallengeAnswer,
  TpmChallengeRequest,
} from '#device-agent/ports/est-client.ts';
import { TPM_CHALLENGE_PATH } from '#gateway/contract/attestation.ts';
import {
  ATTEMPT_HEADER,
  CONTENT_TYPE,
  DIRECTORY_PATH,
  type Directory,
  EST_BASE_PATH,
  formatEstBody,
  parseEstBody,
} from '#gateway/contract/est.ts';
import type { DialGateway } from './dial-gateway.ts';
import { type HttpAnswer, HttpExchange } from './http-exchange.ts';
import { parseRetryAfter } from './retry-after.ts';
import { formatTpmChallengeRequest, parseTpmChallengeAnswer } from './tpm-challenge.ts';

/** EST over HTTPS (RFC 7030, RFC 8951). */
export function createEstClient(dial: DialGateway): EstClient {
  return {
    fetchUnverifiedCaCertificates: async (address, signal) => {
      const exchange = new HttpExchange(dial, { address, trust: 'unverified' });
      try {
        return await fetchCaCertificates(exchange, signal);
      } finally {
        exchange.close();
      }
    },
    openSession: (target) => openSession(dial, target),
  };
}

function openSession(dial: DialGateway, target: EstTarget): EstSession {
  const exchange = new HttpExchange(dial, target);
  return {
    fetchDirectory: async (signal) => {
      const answer = await exchange.send({ method: 'GET', path: DIRECTORY_PATH }, signal);
      if (answer.status !== 200) throw unexpected('the directory', answer);
      return { ...parseDirectory(answer.body), servedUntil: answer.servedUntil };
    },
    fetchCaCertificates: (signal) => fetchCaCertificates(exchange, signal),
    enroll: (request, signal) => enroll(exchange, request, signal),
    requestTpmChallenge: (request, signal) => requestTpmChallenge(exchange, request, signal),
    close: () => exchange.close(),
  };
}

async function fetchCaCertificates(exchange: HttpExchange, signal: AbortSignal | undefined): Promise<Buffer[]> {
  const answer = await exchange.send({ method: 'GET', path: `${EST_BASE_PATH}/cacerts` }, signal);
  // RFC 7030 4.1.3: success is 200 only.
  if (answer.status !== 200) throw unexpected('its CA certificates', answer);
  return readCertsOnly(answer.body);
}

async function enroll(
  exchange: HttpExchange,
  request: EnrollmentRequest,
  signal: AbortSignal | undefined,
): Promise<EnrollmentAnswer> {
  const { basic } = request;
  const answer = await exchange.send(
    {
      method: 'POST',
      path: `${EST_BASE_PATH}/${request.operation}`,
      headers: {
        'Content-Type': CONTENT_TYPE.csr,
        [ATTEMPT_HEADER]: request.attemptId,
        ...formatAuthorization(basic),
      },
      body: formatEstBody(request.csr),
    },
    signal,
  );
  const refused = readRefusal(answer, request.attemptId);
  const { attemptId, retryAfterMs = DEFAULT_PENDING_MS } = refused;
  if (answer.status === 200) return { kind: 'issued', attemptId, certificates: readCertsOnly(answer.body) };
  // RFC 7030 4.2.3: the gateway has the request; it wants to be asked again.
  return answer.status === 202 ? { kind: 'pending', attemptId, retryAfterMs } : refused;
}

async function requestTpmChallenge(
  exchange: HttpExchange,
  request: TpmChallengeRequest,
  signal: AbortSignal | undefined,
): Promise<TpmChallengeAnswer> {
  const answer = await exchange.send(
    {
      method: 'POST',
      path: TPM_CHALLENGE_PATH,
      headers: {
        'Content-Type': 'application/json',
        [ATTEMPT_HEADER]: request.attemptId,
        ...formatAuthorization(request.basic),
      },
      body: formatTpmChallengeRequest(request.identity),
    },
    signal,
  );
  const refused = readRefusal(answer, request.attemptId);
  if (answer.status === 200) return { ...parseTpmChallengeAnswer(answer.body), attemptId: refused.attemptId };
  // A gateway of before attestation; a certificate that proves less is not asked for.
  if (answer.status === 404 || answer.status === 501)
    return { ...refused, detail: 'this gateway cannot judge keys in a TPM' };
  return refused;
}

function readRefusal(answer: HttpAnswer, ownAttemptId: string): EnrollmentAnswer & { kind: 'refused' } {
  const told = answer.headers[ATTEMPT_HEADER.toLowerCase()];
  const retryAfterMs = parseRetryAfter(answer.headers['retry-after'], answer.headers.date, Date.now());
  return {
    kind: 'refused',
    attemptId: isAttemptId(told) ? told : ownAttemptId,
    status: answer.status,
    detail: readableText(answer.body),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  };
}

function formatAuthorization(basic: EnrollmentRequest['basic']): Record<string, string> {
  if (!basic) return {};
  return { Authorization: `Basic ${Buffer.from(`${basic.user}:${basic.password}`).toString('base64')}` };
}

/** Retry-After is a MUST of 202; a gateway that forgets it is asked once a minute. */
const DEFAULT_PENDING_MS = 60_000;

function readCertsOnly(body: string): Buffer[] {
  const der = parseEstBody(body);
  if (!der) throw new AgentError('ANSWER_UNFIT', 'the answer of the gateway is not base64 (RFC 8951 3)');
  try {
    return parseCertsOnly(der);
  } catch (cause) {
    throw new AgentError('ANSWER_UNFIT', 'the answer of the gateway holds no certificates', { cause });
  }
}

function parseDirectory(body: string): Directory {
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    throw unfitDirectory('it is not JSON');
  }
  if (typeof value !== 'object' || value === null) throw unfitDirectory('it is not an object');
  const { version, trustDomain, mqtt, time } = value as Record<string, unknown>;
  if (version !== 1) throw unfitDirectory('its version is not known; update this agent');
  if (typeof trustDomain !== 'string' || typeof mqtt !== 'object' || mqtt === null)
    throw unfitDirectory('a field is missing');
  const { host, port } = mqtt as Record<string, unknown>;
  if (!isPort(port) || typeof time !== 'number' || !Number.isSafeInteger(time))
    throw unfitDirectory('a field is missing');
  return {
    version: 1,
    trustDomain,
    mqtt: { ...(typeof host === 'string' && host !== '' ? { host } : {}), port },
    time,
  };
}

function unfitDirectory(why: string): AgentError {
  return new AgentError('ANSWER_UNFIT', `the directory of the gateway cannot be used: ${why}`);
}

function unexpected(what: string, answer: HttpAnswer): AgentError {
  const busy = answer.status === 429 || answer.status >= 500;
  const retryAfterMs = parseRetryAfter(answer.headers['retry-after'], answer.headers.date, Date.now());
  return new AgentError(
    busy ? 'GATEWAY_BUSY' : 'ANSWER_UNFIT',
    `the gateway did not give ${what}: status ${answer.status} ${readableText(answer.body)}`.trimEnd(),
    {
      advice: busy ? 'wait a little and try again' : 'check that the address is the EST address of a gateway',
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    },
  );
}

/** RFC 8951 5: the body explains. It goes to a terminal and a log: one line, no control characters, not long. */
function readableText(body: string): string {
  return body
    .replace(/[\p{Cc}\s]+/gu, ' ')
    .trim()
    .slice(0, 500);
}
