import type { AgentConfig } from '#device-agent/domain/agent-config.ts';
import { asAgentError } from '#device-agent/domain/agent-error.ts';
import { decideNotice } from '#device-agent/domain/notice-decision.ts';
import {
  EMPTY_NOTICE_MEMORY,
  type NoticeMemory,
  type PlannedWindow,
  parseNoticeMemory,
  type RenewalOrder,
  rememberAcknowledged,
  rememberNotice,
  withOrder,
} from '#device-agent/domain/notice-memory.ts';
import { readNotice, type SignedNotice } from '#device-agent/domain/read-notice.ts';
import { momentInWindow } from '#device-agent/domain/renewal-schedule.ts';
import type { Log } from '#device-agent/ports/log.ts';
import type { Randomness } from '#device-agent/ports/randomness.ts';
import type { StateStore } from '#device-agent/ports/state-store.ts';
import type { AttestBody, Notice, RevokedBody, TrustBody } from '#gateway/contract/notice.ts';
import type { AttestEvidence, NoticeAck } from '#gateway/contract/reports.ts';
import type { FactBook } from './fact-book.ts';
import type { TimeKeeper } from './time-keeper.ts';

export type NoticeInboxDeps = {
  store: StateStore;
  randomness: Randomness;
  log: Log;
  time: TimeKeeper;
  facts: FactBook;
};

export type NoticeInboxHooks = {
  config: AgentConfig;
  /** DER, as they are now. */
  anchors(): Buffer[];
  currentSerial(): string;
  /** Rejects when there is no session: the answer is then sent again in the next one. */
  sendAck(ack: NoticeAck): Promise<void>;
  onOrder(): void;
  /** The gateway plans the renewal of the current certificate for another window. */
  onWindow(window: PlannedWindow): void;
  onRevoked(body: RevokedBody): void;
  /** @param text the whole notice */
  obeyTrust(text: string, body: TrustBody): Promise<{ outcome: 'done' | 'failed'; detail: string }>;
  /** Tries as long as the challenge is good. @throws AgentError when the key cannot be proved; STOPPED */
  attest(challenge: { body: AttestBody; expiresAt: number }): Promise<AttestEvidence>;
};

/**
 * Signed notices, one after the other. The highest `seq` is on the disk before anything is done, so that neither a
 * power cut nor an old recording makes the device obey twice. The gateway hears `received` at once, the end later, and
 * again at the next session until it has confirmed it.
 */
export class NoticeInbox {
  readonly #deps: NoticeInboxDeps;
  readonly #hooks: NoticeInboxHooks;
  #memory: NoticeMemory;
  /** Challenges whose evidence is being made. */
  readonly #attesting = new Set<string>();
  #queue: Promise<void> = Promise.resolve();

  private constructor(deps: NoticeInboxDeps, hooks: NoticeInboxHooks, memory: NoticeMemory) {
    this.#deps = deps;
    this.#hooks = hooks;
    this.#memory = memory;
  }

  static async open(deps: NoticeInboxDeps, hooks: NoticeInboxHooks): Promise<NoticeInbox> {
    const stored = await deps.store.readRecord('notices');
    const memory = parseNoticeMemory(stored);
    if (stored !== undefined && !memory) deps.log.error('the memory of notices was unreadable and starts anew');
    return new NoticeInbox(deps, hooks, memory ?? EMPTY_NOTICE_MEMORY);
  }

  /** A renewal asked for by the gateway and not yet ended. */
  get order(): RenewalOrder | undefined {
    return this.#memory.order;
  }

  /** The window that a notice told last, of whichever certificate. */
  get window(): PlannedWindow | undefined {
    return this.#memory.window;
  }

  /** Handles one message after those before it. Never rejects. */
  receive(payload: Buffer): Promise<void> {
    return this.#enqueue(() => this.#handle(payload));
  }

  /** Ends the renewal order, if there is one: the answer that the gateway waits for. */
  endOrder(outcome: 'done' | 'failed', detail: string): Promise<void> {
    return this.#enqueue(async () => {
      const { order } = this.#memory;
      if (!order) return;
      await this.#keep(withOrder(rememberNotice(this.#memory, { id: order.noticeId, outcome, detail }), undefined));
      await this.#acknowledge(order.noticeId);
    });
  }

  /** At the start of a session: says again what the gateway may not have heard. */
  flush(): Promise<void> {
    return this.#enqueue(async () => {
      const { order } = this.#memory;
      if (order && order.serial !== this.#hooks.currentSerial()) {
        // The power went between the switch and the answer.
        const ended = { id: order.noticeId, outcome: 'done' as const, detail: 'replaced' };
        await this.#keep(withOrder(rememberNotice(this.#memory, ended), undefined));
      }
      for (const { id, outcome, acknowledged } of this.#memory.handled) {
        if (outcome !== 'received' && !acknowledged) await this.#acknowledge(id);
      }
    });
  }

  #enqueue(work: () => Promise<void>): Promise<void> {
    this.#queue = this.#queue.then(work).catch((error: unknown) => {
      this.#deps.log.error('a notice could not be handled', { error: String(error) });
    });
    return this.#queue;
  }

  async #handle(payload: Buffer): Promise<void> {
    const { log, time } = this.#deps;
    const { config } = this.#hooks;
    const text = payload.toString('utf8');
    let signed: SignedNotice;
    try {
      signed = readNotice(text, { anchors: this.#hooks.anchors(), at: time.trustedNow() });
    } catch (error) {
      log.warn('notice refused', { reason: error instanceof Error ? error.message : String(error) });
      return;
    }
    const { notice, signedUntil } = signed;
    await time.learn(notice.issuedAt, signedUntil);
    const decision = decideNotice(notice, { deviceId: config.deviceId, memory: this.#memory, now: time.trustedNow() });
    const { id, seq, kind } = notice;
    switch (decision.kind) {
      case 'refuse':
        log.warn('notice refused', { id, seq, kind, reason: decision.reason });
        if (!decision.answer) return;
        await this.#keep(rememberNotice(this.#memory, { id, seq, outcome: 'failed', detail: decision.reason }));
        return this.#acknowledge(id);
      case 'repeat':
        log.info('notice seen before', { id, seq, kind, outcome: decision.handled.outcome });
        // The evidence is not kept: it is made again.
        if (kind === 'attest') return this.#obey(notice, text);
        if (decision.handled.outcome !== 'received' || this.#memory.order?.noticeId === id)
          return this.#acknowledge(id);
        return this.#obey(notice, text);
      case 'act':
        log.info('notice received', { id, seq, kind });
        // The gateway closes the session of a revoked device at its first answer: it gets the only one that matters.
        if (kind === 'revoked') return this.#obey(notice, text);
        await this.#keep(rememberNotice(this.#memory, { id, seq, outcome: 'received' }));
        void this.#send({ noticeId: id, outcome: 'received' });
        return this.#obey(notice, text);
    }
  }

  async #obey(notice: Notice, text: string): Promise<void> {
    switch (notice.kind) {
      case 'renew': {
        const { serial, suggestedWindow } = notice.body;
        if (serial !== this.#hooks.currentSerial()) return this.#end(notice, 'done', 'already replaced');
        if (notice.body.planned === true) return this.#noteWindow(notice, { serial, ...suggestedWindow });
        const before = this.#memory.order;
        const order = before?.serial === serial ? before : undefined;
        const since = this.#deps.time.now();
        const at = momentInWindow(suggestedWindow, since, this.#deps.randomness.fraction());
        if (before && before.noticeId !== notice.id)
          await this.#end({ id: before.noticeId }, 'done', `taken over by notice ${notice.id}`);
        const taken = { noticeId: notice.id, serial, at: Math.min(at, order?.at ?? at), since };
        await this.#keep(withOrder(this.#memory, taken));
        return this.#hooks.onOrder();
      }
      case 'revoked': {
        const { serials, reason, advice } = notice.body;
        const serial = this.#hooks.currentSerial();
        if (!serials.includes(serial)) return this.#end(notice, 'done', 'not the certificate in use');
        await this.#deps.facts.update({ revoked: { serial, reason, advice, at: this.#deps.time.now() } });
        // At once: the gateway waits a second at most before it closes this session.
        await this.#end(notice, 'done', 'understood');
        return this.#hooks.onRevoked(notice.body);
      }
      case 'attest':
        return this.#attest(notice);
      case 'quarantine': {
        const { active, reason } = notice.body;
        const quarantined = { serial: this.#hooks.currentSerial(), reason, at: this.#deps.time.now() };
        await this.#deps.facts.update({ quarantined: active ? quarantined : undefined });
        if (active) this.#deps.log.error('this device is in quarantine: its telemetry is dropped', { reason });
        else this.#deps.log.info('the quarantine of this device has ended', { reason });
        return this.#end(notice, 'done', 'understood');
      }
      case 'time': {
        const { time } = this.#deps;
        // Its signer's chain was valid at that time, or it would not have come this far.
        const isTaken = await time.set(notice.body.time, notice.expiresAt);
        const detail = isTaken ? 'taken' : 'earlier than what is known to be past';
        return this.#end(notice, isTaken ? 'done' : 'failed', detail);
      }
      case 'trust': {
        const { outcome, detail } = await this.#hooks.obeyTrust(text, notice.body);
        return this.#end(notice, outcome, detail);
      }
      case 'revocations':
        // For those who check other devices; this agent trusts no device.
        return this.#end(notice, 'done', 'nothing to do');
    }
  }

  /** On the disk before it is acknowledged: the gateway does not say it again. */
  async #noteWindow(notice: Notice, window: PlannedWindow): Promise<void> {
    this.#hooks.onWindow(window);
    await this.#keep({ ...this.#memory, window });
    await this.#end(notice, 'done', 'noted');
  }

  /** Not waited for: a TPM takes its time, and the next notice may be that the device is revoked. */
  async #attest({ id: noticeId, ...challenge }: { id: string; body: AttestBody; expiresAt: number }): Promise<void> {
    // It comes again with each session; the one try goes on.
    if (this.#attesting.has(noticeId)) return;
    this.#attesting.add(noticeId);
    void this.#hooks
      .attest(challenge)
      .finally(() => this.#attesting.delete(noticeId))
      .then((evidence) => this.#send({ noticeId, outcome: 'done', detail: 'proved', evidence }))
      .catch((thrown: unknown) => {
        const { code, message } = asAgentError(thrown, 'TPM_UNUSABLE');
        return code === 'STOPPED' ? undefined : this.#enqueue(() => this.#end({ id: noticeId }, 'failed', message));
      });
  }

  async #end(notice: { id: string; seq?: number }, outcome: 'done' | 'failed', detail: string): Promise<void> {
    const { id, seq } = notice;
    await this.#keep(rememberNotice(this.#memory, { id, outcome, detail, ...(seq === undefined ? {} : { seq }) }));
    await this.#acknowledge(id);
  }

  async #keep(memory: NoticeMemory): Promise<void> {
    await this.#deps.store.writeRecord('notices', memory);
    this.#memory = memory;
  }

  /** Says the recorded outcome. Not waited for: the next notice must not wait for a slow broker. */
  async #acknowledge(id: string): Promise<void> {
    const handled = this.#memory.handled.find((h) => h.id === id);
    if (!handled) return;
    const { outcome, detail } = handled;
    void this.#send({ noticeId: id, outcome, ...(detail === undefined ? {} : { detail }) });
  }

  async #send(ack: NoticeAck): Promise<void> {
    try {
      await this.#hooks.sendAck(ack);
    } catch (error) {
      this.#deps.log.debug('acknowledgement not sent yet', { id: ack.noticeId, error: String(error) });
      return;
    }
    if (ack.outcome === 'received') return;
    await this.#enqueue(() => this.#keep(rememberAcknowledged(this.#memory, ack.noticeId, ack.outcome)));
  }
}
