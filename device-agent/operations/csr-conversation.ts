import { AgentError } from '#device-agent/domain/agent-error.ts';
import { isAttemptId } from '#device-agent/domain/attempt-id.ts';
import { parseCsrAnswer } from '#device-agent/domain/csr-answer.ts';
import { DEFAULT_PENDING_MS, LONGEST_PENDING_MS } from '#device-agent/domain/pending-wait.ts';
import type { Clock } from '#device-agent/ports/clock.ts';
import type { EnrollmentAnswer, EnrollmentSession } from '#device-agent/ports/enrollment-session.ts';
import type { MqttSession } from '#device-agent/ports/mqtt-connector.ts';
import type { CsrAnswer, CsrMessage } from '#gateway/contract/csr-messages.ts';
import { readTpmChallengeAnswer, toTpmChallengeRequest } from './tpm-challenge-messages.ts';

const ANSWER_TIMEOUT_MS = 60_000;
/** Of an answer that is not 202: a slip of the gateway does not stop us for longer. */
const LONGEST_RETRY_MS = 24 * 3600_000;

/**
 * Requests for certificates over one MQTT session: asked on one topic, answered on another, matched by requestId, which
 * is the attempt id. One request at a time. An answer nobody waits for is news: the gateway tells unasked when a person
 * has decided.
 */
export class CsrConversation implements EnrollmentSession {
  readonly #deps: { clock: Clock };
  readonly #session: MqttSession;
  readonly #topic: string;
  /** What every message says. */
  readonly #head: { version: 1; label?: string };
  #expected: { requestId: string; resolve: (answer: CsrAnswer) => void } | undefined;
  /** The request that was answered last, and what to do when more is said about it. */
  #later: { requestId: string; isTold: boolean; resolve: () => void } | undefined;

  /** @param way topic on which is asked, give what comes on the other one to `receive`; label: the group to ask for. */
  constructor(deps: { clock: Clock }, session: MqttSession, { topic, ...asked }: { topic: string; label?: string }) {
    this.#deps = deps;
    this.#session = session;
    this.#topic = topic;
    this.#head = { version: 1, ...asked };
  }

  receive(payload: Buffer): void {
    const answer = parseCsrAnswer(payload);
    if (!answer) return;
    const { requestId } = answer;
    if (this.#expected?.requestId === requestId) {
      this.#expected.resolve(answer);
      this.#expected = undefined;
      this.#later = { requestId, isTold: false, resolve: () => {} };
    } else if (this.#later?.requestId === requestId) {
      this.#later.isTold = true;
      this.#later.resolve();
    }
  }

  async fetchCaCertificates(): Promise<Buffer[]> {
    return [];
  }

  /** Nothing tells beforehand; a refusal does. */
  async wantsBinding(): Promise<boolean> {
    return false;
  }

  async channelBinding(): Promise<Buffer> {
    return this.#session.channelBinding();
  }

  async enroll(
    { csr, attemptId }: Parameters<EnrollmentSession['enroll']>[0],
    signal?: AbortSignal,
  ): Promise<EnrollmentAnswer> {
    const answer = await this.#ask({ ...this.#head, requestId: attemptId, csr: csr.toString('base64') }, signal);
    const { status, certificate, chain = [], suggestedWindow: window } = answer;
    const refused = readRefusal(answer);
    if (status === 200 && certificate !== undefined) {
      const certificates = [certificate, ...chain].map((text) => Buffer.from(text, 'base64'));
      return { kind: 'issued', attemptId: refused.attemptId, certificates, ...(window ? { window } : {}) };
    }
    if (status === 202) {
      return {
        kind: 'pending',
        attemptId: refused.attemptId,
        retryAfterMs: refused.retryAfterMs ?? DEFAULT_PENDING_MS,
        news: this.#untilToldOrEnded(),
      };
    }
    if (status < 400) throw unfit(refused.attemptId);
    return refused;
  }

  async requestTpmChallenge(
    { identity, attemptId }: Parameters<EnrollmentSession['requestTpmChallenge']>[0],
    signal?: AbortSignal,
  ): ReturnType<EnrollmentSession['requestTpmChallenge']> {
    const answer = await this.#ask(
      { ...this.#head, requestId: attemptId, tpmChallenge: toTpmChallengeRequest(identity) },
      signal,
    );
    const refused = readRefusal(answer);
    if (answer.status === 200 && answer.tpmChallenge)
      return { ...readTpmChallengeAnswer(answer.tpmChallenge), attemptId: refused.attemptId };
    if (answer.status < 400) throw unfit(refused.attemptId);
    return refused;
  }

  close(): void {
    this.#expected = undefined;
    this.#later = undefined;
  }

  /** A session that ends is news too: it is worth a new one. */
  async #untilToldOrEnded(): Promise<void> {
    await Promise.race([this.#untilTold(), this.#session.ended]);
  }

  #untilTold(): Promise<void> {
    const later = this.#later;
    if (!later || later.isTold) return Promise.resolve();
    return new Promise((resolve) => {
      later.resolve = resolve;
    });
  }

  async #ask(message: CsrMessage, signal: AbortSignal | undefined): Promise<CsrAnswer> {
    const over = new AbortController();
    const answered = new Promise<CsrAnswer>((resolve) => {
      this.#later = undefined;
      this.#expected = { requestId: message.requestId, resolve };
    });
    const given = signal ? AbortSignal.any([signal, over.signal]) : over.signal;
    try {
      // The PUBACK need not come before the answer.
      const sent = this.#session.publish(this.#topic, JSON.stringify(message));
      return await Promise.race([
        sent.then(() => answered),
        answered,
        this.#session.ended.then(({ detail }) => {
          throw unreachable(`the MQTT session ended before the answer: ${detail}`);
        }),
        this.#deps.clock.wait(ANSWER_TIMEOUT_MS, given).then(() => {
          if (signal?.aborted === true) throw new AgentError('STOPPED', 'stopped while waiting for the gateway');
          throw unreachable('the gateway did not answer over MQTT in time');
        }),
      ]);
    } finally {
      this.#expected = undefined;
      over.abort();
    }
  }
}

function readRefusal(answer: CsrAnswer): EnrollmentAnswer & { kind: 'refused' } {
  const { status, code, detail, transient, retryAfter } = answer;
  const longestMs = status === 202 ? LONGEST_PENDING_MS : LONGEST_RETRY_MS;
  return {
    kind: 'refused',
    attemptId: isAttemptId(answer.attemptId) ? answer.attemptId : answer.requestId,
    status,
    detail: [code, detail].filter((part) => part !== '').join(': '),
    ...(code === '' ? {} : { code }),
    transient,
    ...(retryAfter === undefined ? {} : { retryAfterMs: Math.min(longestMs, Math.max(1, retryAfter) * 1000) }),
  };
}

function unreachable(message: string): AgentError {
  return new AgentError('GATEWAY_UNREACHABLE', message, {
    advice: 'nothing is lost: the same command asks again with the same key',
  });
}

function unfit(attemptId: string): AgentError {
  return new AgentError('ANSWER_UNFIT', 'the gateway answered over MQTT without what was asked for', { attemptId });
}
