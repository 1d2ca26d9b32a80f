import { parseCompactJws } from '#ca/pkix/compact-jws.ts';
import { AgentError, asAgentError } from '#device-agent/domain/agent-error.ts';
import { fullJitter } from '#device-agent/domain/backoff.ts';
import { readNotice } from '#device-agent/domain/read-notice.ts';
import { isNews, parseRevokedList, type RevokedList, takeNews } from '#device-agent/domain/revoked-list.ts';
import { type CrlFacts, verifyCrl } from '#device-agent/domain/verify-crl.ts';
import type { Clock } from '#device-agent/ports/clock.ts';
import type { CrlFolder } from '#device-agent/ports/crl-folder.ts';
import type { Log } from '#device-agent/ports/log.ts';
import type { Randomness } from '#device-agent/ports/randomness.ts';
import type { RevocationsBody } from '#gateway/contract/notice.ts';
import type { FactBook } from './fact-book.ts';
import type { TimeKeeper } from './time-keeper.ts';
import { Wakeup } from './wakeup.ts';

export type CrlKeeperDeps = {
  crl: CrlFolder;
  clock: Clock;
  randomness: Randomness;
  log: Log;
  time: TimeKeeper;
  facts: FactBook;
};

export type CrlKeeperHooks = {
  anchors(): readonly Buffer[];
  /** CA certificates the device holds beside the anchors, DER. */
  issuers(): readonly Buffer[];
};

/** The first CRL is wanted soon; a newer one is waited for by a whole fleet, which must not come at once. */
const FIRST_WITHIN_MS = 5000;
const CRL_WITHIN_MS = 60_000;
const RETRY_BOUNDS = { baseMs: 5000, capMs: 10 * 60_000 } as const;
const LEAST_RETRY_MS = 500;

/**
 * Keeps a verified CRL on the disk, so that local services can check whom they talk to, and beside it what the gateway
 * has told since. The signed fleet notice says which CRL is the newest and where it is; a fetch that fails, or brings
 * what cannot be verified, changes nothing but what `status` says.
 */
export class CrlKeeper {
  readonly #deps: CrlKeeperDeps;
  readonly #hooks: CrlKeeperHooks;
  readonly #withinMs: number;
  readonly #wakeup = new Wakeup();
  readonly #stopped = new AbortController();
  /** That the notice came with: after a change of the issuing CA the device's own certificate may still be of the old. */
  #shownIssuers: Buffer[] = [];
  #list: RevokedList | undefined;
  #current: CrlFacts | undefined;
  #etag: string | undefined;
  #wanted: Pick<RevocationsBody, 'crlNumber' | 'crlUrl'> | undefined;
  #queue: Promise<void> = Promise.resolve();
  #running: Promise<void> | undefined;

  private constructor(deps: CrlKeeperDeps, hooks: CrlKeeperHooks, withinMs: number) {
    this.#deps = deps;
    this.#hooks = hooks;
    this.#withinMs = withinMs;
  }

  /** @param withinMs longest random time before a newer CRL is fetched */
  static async open(deps: CrlKeeperDeps, hooks: CrlKeeperHooks, withinMs = CRL_WITHIN_MS): Promise<CrlKeeper> {
    const keeper = new CrlKeeper(deps, hooks, withinMs);
    await keeper.#readWhatIsThere();
    return keeper;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Resolves when nothing of it runs any more. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    this.#wakeup.wake();
    await Promise.all([this.#running, this.#queue]);
  }

  /** Handles one fleet notice after those before it. Never rejects. */
  receive(payload: Buffer): Promise<void> {
    this.#queue = this.#queue
      .then(() => this.#handle(payload))
      .catch((error: unknown) => this.#deps.log.error('a fleet notice could not be handled', { error: String(error) }));
    return this.#queue;
  }

  async #readWhatIsThere(): Promise<void> {
    const { crl, facts, log } = this.#deps;
    this.#list = parseRevokedList(await crl.readRevoked());
    const der = await crl.readCrl();
    if (der === undefined) return;
    try {
      this.#current = this.#verify(der);
      const known = facts.facts.crl;
      if (known?.number === this.#current.number) this.#etag = known.etag;
    } catch (error) {
      log.warn('the CRL on the disk cannot be used, another is fetched', {
        reason: asAgentError(error, 'ANSWER_UNFIT').message,
      });
    }
  }

  #verify(der: Buffer): CrlFacts {
    const { time } = this.#deps;
    const issuers = [...this.#hooks.issuers(), ...this.#shownIssuers];
    return verifyCrl(der, { anchors: this.#hooks.anchors(), issuers, at: time.trustedNow() });
  }

  async #handle(payload: Buffer): Promise<void> {
    const { log, crl } = this.#deps;
    const body = await this.#read(payload);
    if (body === undefined) return;
    const { crlNumber, seq, crlUrl } = body;
    if (isNews(this.#list, body)) {
      this.#list = takeNews(this.#list, body, this.#current?.thisUpdate);
      await crl.writeRevoked(this.#list);
      log.info('revocations heard of', { crlNumber, seq, entries: body.entries.length, full: body.full });
    } else if (crlNumber !== this.#list?.crlNumber || seq !== this.#list.seq) {
      log.warn('fleet notice refused', { crlNumber, seq, reason: 'it is older than one already heard' });
      return;
    }
    this.#wanted = { crlNumber, crlUrl };
    if (this.#isBehind()) this.#wakeup.wake();
  }

  /** @returns undefined when it is not to be believed. */
  async #read(payload: Buffer): Promise<RevocationsBody | undefined> {
    const { log, time } = this.#deps;
    try {
      const anchors = [...this.#hooks.anchors()];
      const text = payload.toString('utf8');
      const { notice, signedUntil } = readNotice(text, { anchors, at: time.trustedNow() });
      if (notice.deviceId !== '*' || notice.kind !== 'revocations') throw new Error('it is not for the fleet');
      await time.learn(notice.issuedAt, signedUntil);
      const now = time.trustedNow();
      if (now !== undefined && now > notice.expiresAt) throw new Error('it has expired');
      this.#shownIssuers = parseCompactJws(text)
        .header.x5c.slice(1)
        .map((one) => Buffer.from(one));
      return notice.body;
    } catch (error) {
      log.warn('fleet notice refused', { reason: error instanceof Error ? error.message : String(error) });
      return undefined;
    }
  }

  #isBehind(): boolean {
    return this.#wanted !== undefined && (this.#current?.number ?? -1) < this.#wanted.crlNumber;
  }

  async #run(): Promise<void> {
    const { clock, randomness } = this.#deps;
    const { signal } = this.#stopped;
    while (!signal.aborted) {
      await this.#wakeup.next();
      for (let failures = 0; this.#isBehind() && !signal.aborted; ) {
        const fraction = randomness.fraction();
        const first =
          fraction * (this.#current === undefined ? Math.min(FIRST_WITHIN_MS, this.#withinMs) : this.#withinMs);
        const again = Math.max(LEAST_RETRY_MS, fullJitter(failures, RETRY_BOUNDS, fraction));
        await clock.wait(failures === 0 ? first : again, signal);
        if (signal.aborted) return;
        failures = (await this.#fetch()) ? 0 : failures + 1;
      }
    }
  }

  /** @returns false when it is to be tried again. */
  async #fetch(): Promise<boolean> {
    const { crl, facts, log, time } = this.#deps;
    const wanted = this.#wanted;
    if (wanted === undefined) return true;
    try {
      const answer = await crl.download(wanted.crlUrl, this.#etag, this.#stopped.signal);
      if (answer.kind === 'unchanged') throw new AgentError('GATEWAY_BUSY', `CRL ${wanted.crlNumber} is not there yet`);
      const fetched = this.#verify(answer.der);
      this.#requireNewer(fetched, wanted.crlNumber);
      await crl.accept();
      this.#current = fetched;
      this.#etag = answer.etag;
      const { number, thisUpdate, nextUpdate, signedUntil } = fetched;
      await time.learn(thisUpdate, signedUntil);
      const etag = answer.etag === undefined ? {} : { etag: answer.etag };
      await facts.update({ crl: { number, thisUpdate, nextUpdate, fetchedAt: time.now(), ...etag } });
      log.info('CRL fetched', { number, octets: answer.der.length, nextUpdate: new Date(nextUpdate).toISOString() });
      return true;
    } catch (error) {
      if (this.#stopped.signal.aborted) return true;
      const { code, message } = asAgentError(error, 'ANSWER_UNFIT');
      await crl.discard().catch(() => undefined);
      await facts.update({ crl: { ...facts.facts.crl, error: { message, at: time.now() } } });
      log.warn('CRL not fetched, the one before stays', { code, reason: message });
      return false;
    }
  }

  /** Whoever sits on the way of a plain HTTP answer can send an old one: the signed notice says how old it may be. */
  #requireNewer(fetched: CrlFacts, announced: number): void {
    const current = this.#current;
    if (fetched.number < announced)
      throw new AgentError('ANSWER_UNFIT', `CRL ${fetched.number} came, and the gateway has announced ${announced}`);
    if (current === undefined) return;
    const isSameIssuer = current.authorityKeyId === fetched.authorityKeyId;
    if (isSameIssuer ? fetched.number <= current.number : fetched.thisUpdate < current.thisUpdate)
      throw new AgentError('ANSWER_UNFIT', `CRL ${fetched.number} is older than the one at hand`);
  }
}
