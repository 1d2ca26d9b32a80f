import type { TLSSocket } from 'node:tls';
import { parseCertsOnly } from '#ca/pkix/cms.ts';
import { isPort } from '#device-agent/domain/agent-config.ts';
import { AgentError } from '#device-agent/domain/agent-error.ts';
import { isAttemptId } from '#device-agent/domain/attempt-id.ts';
import { channelBindingOf } from '#device-agent/domain/channel-binding.ts';
import { DEFAULT_PENDING_MS, LONGEST_PENDING_MS } from '#device-agent/domain/pending-wait.ts';
import { asksForBinding } from '#device-agent/domain/read-csr-attributes.ts';
import { readableText } from '#device-agent/domain/readable-text.ts';
import { clampStanding } from '#device-agent/domain/renewal-advice.ts';
import { readTpmChallengeAnswer, toTpmChallengeRequest } from '#device-agent/operations/tpm-challenge-messages.ts';
import type {
  EnrollmentAnswer,
  EnrollmentRequest,
  TpmChallengeAnswer,
  TpmChallengeRequest,
} from '#device-agent/ports/enrollment-session.ts';
import type { EstClient, EstSession, EstTarget } from '#device-agent/ports/est-client.ts';
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
import {
  type CertificateName,
  formatCertId,
  parseSuggestedWindow,
  RENEWAL_INFO_PATH,
  RENEWAL_WINDOW_HEADER,
} from '#gateway/contract/renewal-info.ts';
import { TIME_NONCE_HEADER } from '#gateway/contract/signed-time.ts';
import type { DialGateway } from './dial-gateway.ts';
import { type HttpAnswer, HttpExchange } from './http-exchange.ts';
import { parseRetryAfter } from './retry-after.ts';

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
  const paths = pathsOf(target.label);
  let boundTo: TLSSocket | undefined;
  return {
    fetchDirectory: async (signal, nonce) => {
      const headers = nonce === undefined ? {} : { [TIME_NONCE_HEADER]: nonce };
      const answer = await exchange.send({ method: 'GET', path: DIRECTORY_PATH, headers }, signal);
      if (answer.status !== 200) throw unexpected('the directory', answer);
      return { ...parseDirectory(answer.body), servedUntil: answer.servedUntil };
    },
    fetchRenewalInfo: (name, signal) => fetchRenewalInfo(exchange, name, signal),
    fetchCaCertificates: (signal) => fetchCaCertificates(exchange, signal),
    wantsBinding: async (signal) => wantsBinding(await fetchCsrAttributes(exchange, paths, signal)),
    channelBinding: async (signal) => {
      // Any answer will do: it tells over which connection the next request goes.
      const { connection } = await fetchCsrAttributes(exchange, paths, signal);
      const binding = connection && !connection.destroyed ? channelBindingOf(connection) : undefined;
      if (!binding) throw new AgentError('GATEWAY_UNREACHABLE', 'the connection ended before it could be used');
      boundTo = connection;
      return binding;
    },
    enroll: (request, signal) => {
      const over = boundTo;
      // RFC 9266 4.1: one enrollment per connection.
      boundTo = undefined;
      return enroll(exchange, paths, { ...request, ...(over ? { boundTo: over } : {}) }, signal);
    },
    requestTpmChallenge: (request, signal) => requestTpmChallenge(exchange, paths, request, signal),
    close: () => exchange.close(),
  };
}

type Paths = ReturnType<typeof pathsOf>;

/** RFC 7030 3.2.2: a label stands before the operation. */
function pathsOf(label: string | undefined) {
  const base = label === undefined ? EST_BASE_PATH : `${EST_BASE_PATH}/${encodeURIComponent(label)}`;
  return {
    simpleenroll: `${base}/simpleenroll`,
    simplereenroll: `${base}/simplereenroll`,
    csrattrs: `${base}/csrattrs`,
    tpmChallenge: TPM_CHALLENGE_PATH.replace(EST_BASE_PATH, base),
  };
}

function fetchCsrAttributes(exchange: HttpExchange, paths: Paths, signal: AbortSignal | undefined) {
  return exchange.send({ method: 'GET', path: paths.csrattrs }, signal);
}

/** RFC 7030 4.5: a gateway without wishes says 204 or 404. One that cannot tell now will refuse, and say why. */
function wantsBinding({ status, body }: HttpAnswer): boolean {
  const der = status === 200 ? parseEstBody(body) : undefined;
  if (!der) return false;
  try {
    return asksForBinding(der);
  } catch (cause) {
    throw new AgentError('ANSWER_UNFIT', 'the CSR attributes of the gateway cannot be read', { cause });
  }
}

async function fetchCaCertificates(exchange: HttpExchange, signal: AbortSignal | undefined): Promise<Buffer[]> {
  const answer = await exchange.send({ method: 'GET', path: `${EST_BASE_PATH}/cacerts` }, signal);
  // RFC 7030 4.1.3: success is 200 only.
  if (answer.status !== 200) throw unexpected('its CA certificates', answer);
  return readCertsOnly(answer.body);
}

async function fetchRenewalInfo(exchange: HttpExchange, name: CertificateName, signal: AbortSignal | undefined) {
  const answer = await exchange.send({ method: 'GET', path: `${RENEWAL_INFO_PATH}/${formatCertId(name)}` }, signal);
  const { 'retry-after': retryAfter, date } = answer.headers;
  const retryAfterMs = clampStanding(parseRetryAfter(retryAfter, date, Date.now()));
  // A gateway that offers none, or does not know this certificate, has no advice; one that is busy may have it later.
  if (answer.status >= 400 && answer.status < 500 && answer.status !== 429) return { window: undefined, retryAfterMs };
  if (answer.status !== 200) throw unexpected('renewal information', answer);
  const info = parseJson(answer.body) as { suggestedWindow?: unknown } | null | undefined;
  return { window: parseSuggestedWindow(info?.suggestedWindow), retryAfterMs };
}

async function enroll(
  exchange: HttpExchange,
  paths: Paths,
  request: EnrollmentRequest & { boundTo?: TLSSocket },
  signal: AbortSignal | undefined,
): Promise<EnrollmentAnswer> {
  const { basic, boundTo } = request;
  const answer = await exchange.send(
    {
      method: 'POST',
      path: paths[request.operation],
      headers: {
        'Content-Type': CONTENT_TYPE.csr,
        [ATTEMPT_HEADER]: request.attemptId,
        ...formatAuthorization(basic),
      },
      body: formatEstBody(request.csr),
      ...(boundTo ? { boundTo } : {}),
    },
    signal,
  );
  const refused = readRefusal(answer, request.attemptId);
  const { attemptId } = refused;
  if (answer.status === 200) {
    const window = parseSuggestedWindow(answer.headers[RENEWAL_WINDOW_HEADER.toLowerCase()]);
    return { kind: 'issued', attemptId, certificates: readCertsOnly(answer.body), ...(window ? { window } : {}) };
  }
  if (answer.status !== 202) return refused;
  // RFC 7030 4.2.3: the gateway has the request; it wants to be asked again.
  const { 'retry-after': retryAfter, date } = answer.headers;
  const retryAfterMs = parseRetryAfter(retryAfter, date, Date.now(), LONGEST_PENDING_MS) ?? DEFAULT_PENDING_MS;
  return { kind: 'pending', attemptId, retryAfterMs };
}

async function requestTpmChallenge(
  exchange: HttpExchange,
  paths: Paths,
  request: TpmChallengeRequest,
  signal: AbortSignal | undefined,
): Promise<TpmChallengeAnswer> {
  const answer = await exchange.send(
    {
      method: 'POST',
      path: paths.tpmChallenge,
      headers: {
        'Content-Type': 'application/json',
        [ATTEMPT_HEADER]: request.attemptId,
        ...formatAuthorization(request.basic),
      },
      body: JSON.stringify(toTpmChallengeRequest(request.identity)),
    },
    signal,
  );
  const refused = readRefusal(answer, request.attemptId);
  if (answer.status === 200) return { ...readTpmChallengeAnswer(parseJson(answer.body)), attemptId: refused.attemptId };
  // A gateway of before attestation; a certificate that proves less is not asked for.
  if (answer.status === 404 || answer.status === 501)
    return { ...refused, detail: 'this gateway cannot judge keys in a TPM' };
  return refused;
}

function readRefusal(answer: HttpAnswer, ownAttemptId: string): EnrollmentAnswer & { kind: 'refused' } {
  const told = answer.headers[ATTEMPT_HEADER.toLowerCase()];
  const retryAfterMs = parseRetryAfter(answer.headers['retry-after'], answer.headers.date, Date.now());
  // RFC 8951 5: the body explains.
  const detail = readableText(answer.body);
  const code = /^([A-Z][A-Z0-9_]{2,40}):/.exec(detail)?.[1];
  return {
    kind: 'refused',
    attemptId: isAttemptId(told) ? told : ownAttemptId,
    status: answer.status,
    detail,
    ...(code === undefined ? {} : { code }),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  };
}

function formatAuthorization(basic: EnrollmentRequest['basic']): Record<string, string> {
  if (!basic) return {};
  return { Authorization: `Basic ${Buffer.from(`${basic.user}:${basic.password}`).toString('base64')}` };
}

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
  const value = parseJson(body);
  if (typeof value !== 'object' || value === null) throw unfitDirectory('it is not an object');
  const { version, trustDomain, mqtt, time, signedTime } = value as Record<string, unknown>;
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
    ...(typeof signedTime === 'string' ? { signedTime } : {}),
  };
}

/** @returns undefined when it is no JSON. */
function parseJson(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
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
