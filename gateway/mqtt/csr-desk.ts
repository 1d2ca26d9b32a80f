import type { CsrAnswer } from '#gateway/contract/csr-messages.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import type { CsrRequest, CsrSender } from '#gateway/operations/answer-csr-message.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { Log } from '#gateway/ports/log.ts';
import { CsrLimits } from './csr-limits.ts';
import type { MqttLimits } from './mqtt-limits.ts';
import { parseCsrMessage } from './parse-csr-message.ts';
import type { Member, Session } from './session.ts';
import type { SessionOperations } from './session-operations.ts';
import type { SessionTable } from './session-table.ts';

export type DeskDeps = {
  operations: Pick<SessionOperations, 'answerCsrMessage' | 'refuseCsrMessage'>;
  table: Pick<SessionTable, 'ofDevice' | 'enrolling'>;
  limits: MqttLimits;
  clock: Clock;
  log: Log;
  /** QoS 1, to this session only. @returns false when it cannot take it. */
  send: (session: Session, topic: string, payload: string) => boolean;
};

/** Answers kept for a session that has not subscribed to its answer topic yet. */
const MAX_KEPT_ANSWERS = 4;

/** Takes the CSRs of every session to the operations and brings the answers back. Nothing in here throws or rejects. */
export class CsrDesk {
  readonly #deps: DeskDeps;
  readonly #rates: CsrLimits;

  constructor(deps: DeskDeps) {
    this.#deps = deps;
    this.#rates = new CsrLimits(deps.limits);
  }

  /** A message on the CSR topic. Resolves when it was answered. */
  async receive(session: Session, member: Member, payload: Buffer): Promise<void> {
    const { clock, log } = this.#deps;
    const now = clock.monotonic();
    const { deviceId, serial } = member.live;
    const message = parseCsrMessage(payload);
    member.csr.lastAskedAt = now;
    if (message.kind !== 'invalid') return this.#work(session, member, message);
    const { requestId, why } = message;
    if (requestId === undefined) {
      log.info('CSR message not understood', { deviceId, serial, address: session.address, detail: why });
      return;
    }
    try {
      // Nonsense costs as much as anything else that is refused.
      this.#rates.take(callerOf(session, member), now);
      this.#refuse(session, member, requestId, new GatewayError('REQUEST_INVALID', why));
    } catch (error) {
      this.#refuse(session, member, requestId, error);
    }
  }

  /** A person has decided: those of this device who are connected and wait are answered now. */
  answerWaiting(deviceId: DeviceId): void {
    const { table } = this.#deps;
    const own = table.ofDevice(deviceId);
    for (const session of own === undefined ? table.enrolling(deviceId) : [own, ...table.enrolling(deviceId)]) {
      const { member } = session;
      if (member === undefined) continue;
      for (const request of member.csr.waiting.values()) void this.#work(session, member, request, 'decided');
    }
  }

  /** The session has subscribed to its answer topic. */
  listens(session: Session, member: Member): void {
    member.csr.listens = true;
    for (const payload of member.csr.kept.splice(0)) {
      this.#deps.send(session, member.csr.answerTopic, payload);
    }
  }

  sweep(now: number): void {
    this.#rates.sweep(now);
  }

  async #work(
    session: Session,
    member: Member,
    request: CsrRequest,
    why: 'asked' | 'decided' = 'asked',
  ): Promise<void> {
    const { csr } = member;
    const { requestId } = request;
    try {
      const answer = await this.#ask(session, member, request);
      if (answer.status === 202) {
        // Whose decision was about another key goes on waiting, and need not be told again.
        const isKnown = csr.waiting.has(requestId);
        if (isKnown || csr.waiting.size < this.#deps.limits.maxCsrsOfSession) csr.waiting.set(requestId, request);
        if (isKnown && why === 'decided') return;
      } else csr.waiting.delete(requestId);
      this.#tell(session, member, answer);
    } catch (error) {
      const { deviceId, serial } = member.live;
      if (!(error instanceof GatewayError)) {
        this.#deps.log.error('CSR over MQTT failed', { deviceId, serial, address: session.address, error });
      }
      this.#refuse(session, member, requestId, error);
    }
  }

  #refuse(session: Session, member: Member, requestId: string, error: unknown): void {
    const { kind, live } = member;
    const sender = { kind, deviceId: live.deviceId, address: session.address };
    this.#tell(session, member, this.#deps.operations.refuseCsrMessage(sender, requestId, error));
  }

  async #ask(session: Session, member: Member, request: CsrRequest): Promise<CsrAnswer> {
    const { operations, clock, limits } = this.#deps;
    const { csr } = member;
    if (csr.inWork >= limits.maxCsrsOfSession) {
      throw new GatewayError('RATE_LIMITED', 'this connection has too many requests at once', { retryAfter: 1 });
    }
    const spent = this.#rates.take(callerOf(session, member), clock.monotonic());
    csr.inWork += 1;
    try {
      const answer = await this.#rates.pass(() => operations.answerCsrMessage(senderOf(session, member), request));
      if (answer.status < 300) spent.giveBack();
      else if (answer.status >= 500) spent.giveBackToNetwork();
      return answer;
    } catch (error) {
      if (error instanceof GatewayError && error.code === 'OVERLOADED') spent.giveBackToNetwork();
      throw error;
    } finally {
      csr.inWork -= 1;
    }
  }

  #tell(session: Session, member: Member, answer: CsrAnswer): void {
    const { send, log } = this.#deps;
    const { csr, live } = member;
    const { status, code, attemptId } = answer;
    const facts = { deviceId: live.deviceId, serial: live.serial, address: session.address, attemptId, status, code };
    const payload = JSON.stringify(answer);
    if (csr.listens) {
      if (send(session, csr.answerTopic, payload)) log.debug('CSR answered', facts);
      else log.info('CSR answer not delivered', facts);
      return;
    }
    csr.kept.push(payload);
    if (csr.kept.length > MAX_KEPT_ANSWERS) csr.kept.shift();
    log.info('CSR answer kept until the answer topic is subscribed to', facts);
  }
}

function callerOf(session: Session, { kind, live }: Member): { identity: string; address: string } {
  return { identity: `${kind} ${live.deviceId} ${live.serial}`, address: session.address };
}

function senderOf({ socket, address }: Session, member: Member): CsrSender {
  const { deviceId } = member.live;
  if (member.kind === 'enrollment') {
    const { peer, chain, grounds } = member.grant;
    const kind = grounds === 'expired' ? 'device' : 'enrollment';
    return { kind, deviceId, address, peer, chain, tls: socket };
  }
  // Not kept since CONNECT: of the many sessions few ask, and then rarely.
  const peer = socket.getPeerX509Certificate()?.raw;
  if (peer === undefined) throw new GatewayError('CREDENTIALS_MISSING', 'the connection has ended');
  return { kind: 'device', deviceId, address, peer, chain: [], tls: socket };
}
