import { AgentError, asAgentError } from '#device-agent/domain/agent-error.ts';
import { fullJitter } from '#device-agent/domain/backoff.ts';
import { isNews, parseRevokedList, type RevokedList, takeNews } from '#device-agent/domain/revoked-list.ts';
import type { CrlOnDisk } from '#device-agent/domain/runtime-facts.ts';
import type { Clock } from '#device-agent/ports/clock.ts';
import type { CrlFolder } from '#device-agent/ports/crl-folder.ts';
import type { Log } from '#device-agent/ports/log.ts';
import type { Randomness } from '#device-agent/ports/randomness.ts';
import type { RevocationsBody } from '#gateway/contract/notice.ts';
import { CrlShelf, type HeldCrl } from './crl-shelf.ts';
import type { FactBook } from './fact-book.ts';
import { readFleetRevocations } from './read-fleet-revocations.ts';
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
  /** A CRL has taken its place; local services may want to read it. */
  onChanged?(): void;
};

/** A CRL the gateway tells of. `keyId` of its issuer: gateways of before do not say. */
type WantedCrl = { keyId: string | undefined; crlNumber: number; crlUrl: string; isInUse: boolean };

/** The first CRL is wanted soon; a newer one is waited for by a whole fleet, which must not come at once. */
const FIRST_WITHIN_MS = 5000;
const CRL_WITHIN_MS = 60_000;
const RETRY_BOUNDS = { baseMs: 5000, capMs: 10 * 60_000 } as const;
const LEAST_RETRY_MS = 500;

/**
 * Keeps a verified CRL of each trusted issuer on the disk, so that local services can check whom they talk to, and beside
 * them what the gateway has told since. The signed fleet notice says which CRLs are the newest and where they are; a fetch
 * that fails, or brings what cannot be verified, changes nothing but what `status` says.
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
  /** Set by `open`. */
  #shelf!: CrlShelf;
  /** Of what is held, by URL. */
  readonly #etags = new Map<string, string>();
  #wanted: WantedCrl[] = [];
  /** The notice that was refused last: it is retained, and so does not come again while this session lasts. */
  #refused: Buffer | undefined;
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
    keeper.#list = parseRevokedList(await deps.crl.readRevoked());
    keeper.#shelf = await CrlShelf.open(deps, () => ({
      anchors: hooks.anchors(),
      issuers: [...hooks.issuers(), ...keeper.#shownIssuers],
      at: deps.time.trustedNow(),
    }));
    const { inUse } = keeper.#shelf;
    const known = deps.facts.facts.crl;
    if (inUse !== undefined && known?.number === inUse.number && known.url !== undefined && known.etag !== undefined)
      keeper.#etags.set(known.url, known.etag);
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
    return this.#enqueue(() => this.#handle(payload)).catch((error: unknown) =>
      this.#deps.log.error('a fleet notice could not be handled', { error: String(error) }),
    );
  }

  /** The clock was moved: a notice that seemed to have expired, or to be from the future, may be of now. Never rejects. */
  async hearAgain(): Promise<void> {
    const refused = this.#refused;
    this.#refused = undefined;
    if (refused !== undefined) await this.receive(refused);
  }

  /** Other anchors are in use: what they do not trust goes, and what they do may be heard. Never rejects. */
  async anchorsChanged(): Promise<void> {
    await this.#enqueue(() => this.#shelf.clear(undefined)).catch((error: unknown) =>
      this.#deps.log.error('CRLs could not be removed', { error: String(error) }),
    );
    await this.hearAgain();
  }

  /** CAs may have come to be known whose CRLs were told of before. */
  reconsider(): void {
    if (this.#behind().length > 0) this.#wakeup.wake();
  }

  /** What changes the folder follows what was begun before. */
  #enqueue<Done>(work: () => Promise<Done>): Promise<Done> {
    const turn = this.#queue.then(work);
    this.#queue = turn.then(
      () => undefined,
      () => undefined,
    );
    return turn;
  }

  async #handle(payload: Buffer): Promise<void> {
    const { log, crl } = this.#deps;
    const body = await this.#read(payload);
    if (body === undefined) return;
    const { crlNumber, seq } = body;
    if (isNews(this.#list, body)) {
      this.#list = takeNews(this.#list, body, this.#oldestUpdate());
      await crl.writeRevoked(this.#list);
      log.info('revocations heard of', { crlNumber, seq, entries: body.entries.length, full: body.full });
    } else if (crlNumber !== this.#list?.crlNumber || seq !== this.#list.seq) {
      log.warn('fleet notice refused', { crlNumber, seq, reason: 'it is older than one already heard' });
      return;
    }
    this.#wanted = wantedOf(body);
    // Of an issuer that is not named any more nothing is valid.
    if (body.issuers !== undefined) await this.#shelf.clear(body.issuers.map(({ keyId }) => keyId));
    this.reconsider();
  }

  /** @returns undefined when it is not to be believed. */
  async #read(payload: Buffer): Promise<RevocationsBody | undefined> {
    const { log, time } = this.#deps;
    try {
      const read = await readFleetRevocations(payload, { anchors: [...this.#hooks.anchors()], time });
      this.#shownIssuers = read.shownIssuers;
      this.#refused = undefined;
      return read.body;
    } catch (error) {
      this.#refused = payload;
      log.warn('fleet notice refused', { reason: error instanceof Error ? error.message : String(error) });
      return undefined;
    }
  }

  /** Whatever was told of before that stands in the CRLs at hand. */
  #oldestUpdate(): number | undefined {
    const updates = this.#shelf.all().map(({ thisUpdate }) => thisUpdate);
    return updates.length === 0 ? undefined : Math.min(...updates);
  }

  #behind(): WantedCrl[] {
    return this.#wanted.filter((wanted) => {
      const held = this.#heldOf(wanted);
      if (wanted.isInUse) return held === undefined || held.number < wanted.crlNumber || held !== this.#shelf.inUse;
      // One whose CA this device does not know, or does not trust, is of no use to it.
      return (held?.number ?? -1) < wanted.crlNumber && this.#shelf.knows(wanted.keyId ?? '');
    });
  }

  #heldOf({ keyId }: WantedCrl): HeldCrl | undefined {
    return keyId === undefined ? this.#shelf.inUse : this.#shelf.find(keyId);
  }

  async #run(): Promise<void> {
    const { clock, randomness } = this.#deps;
    const { signal } = this.#stopped;
    while (!signal.aborted) {
      await this.#wakeup.next();
      for (let failures = 0; this.#behind().length > 0 && !signal.aborted; ) {
        const fraction = randomness.fraction();
        const isFirst = this.#shelf.inUse === undefined;
        const first = fraction * (isFirst ? Math.min(FIRST_WITHIN_MS, this.#withinMs) : this.#withinMs);
        const again = Math.max(LEAST_RETRY_MS, fullJitter(failures, RETRY_BOUNDS, fraction));
        await clock.wait(failures === 0 ? first : again, signal);
        if (signal.aborted) return;
        failures = (await this.#fetchAll()) ? 0 : failures + 1;
      }
    }
  }

  /** @returns false when something is to be tried again. */
  async #fetchAll(): Promise<boolean> {
    const { crl, facts, log, time } = this.#deps;
    let failure: AgentError | undefined;
    for (const wanted of this.#behind()) {
      try {
        await this.#fetch(wanted);
      } catch (error) {
        if (this.#stopped.signal.aborted) return true;
        failure = asAgentError(error, 'ANSWER_UNFIT');
        await crl.discard().catch(() => undefined);
        const { code, message } = failure;
        log.warn('CRL not fetched, the one before stays', { code, reason: message, issuer: wanted.keyId });
      }
    }
    const error = failure && { message: failure.message, at: time.now() };
    await facts.update({ crl: this.#describe(error) });
    return failure === undefined;
  }

  async #fetch(wanted: WantedCrl): Promise<void> {
    const { crl, log, time } = this.#deps;
    const { keyId, crlNumber, crlUrl, isInUse } = wanted;
    const held = this.#heldOf(wanted);
    if (held === undefined || held.number < crlNumber) {
      const etag = held && this.#etags.get(crlUrl);
      const { signal } = this.#stopped;
      const answer = await crl.download(crlUrl, { etag, maxBytes: this.#shelf.roomFor(keyId), signal });
      if (answer.kind === 'unchanged') throw new AgentError('GATEWAY_BUSY', `CRL ${crlNumber} is not there yet`);
      const fetched = this.#shelf.verify(answer.der);
      this.#requireAnnounced(fetched, wanted);
      await this.#enqueue(async () => {
        await this.#shelf.put(fetched);
        if (isInUse) await this.#shelf.choose(fetched.authorityKeyId);
      });
      if (answer.etag === undefined) this.#etags.delete(crlUrl);
      else this.#etags.set(crlUrl, answer.etag);
      const { number, thisUpdate, nextUpdate, signedUntil, authorityKeyId: issuer, octets } = fetched;
      await time.learn(thisUpdate, signedUntil);
      log.info('CRL fetched', { number, issuer, octets, nextUpdate: new Date(nextUpdate).toISOString() });
    } else await this.#enqueue(() => this.#shelf.choose(held.authorityKeyId));
    this.#hooks.onChanged?.();
  }

  /** Whoever sits on the way of a plain HTTP answer can send an old one: the signed notice says how old it may be. */
  #requireAnnounced({ number, authorityKeyId, thisUpdate }: HeldCrl, { keyId, crlNumber }: WantedCrl): void {
    if (keyId !== undefined && authorityKeyId !== keyId)
      throw new AgentError('ANSWER_UNFIT', `CRL ${number} is of another issuer than the gateway has announced`);
    if (number < crlNumber)
      throw new AgentError('ANSWER_UNFIT', `CRL ${number} came, and the gateway has announced ${crlNumber}`);
    const { inUse } = this.#shelf;
    if (keyId === undefined && inUse !== undefined && thisUpdate < inUse.thisUpdate)
      throw new AgentError('ANSWER_UNFIT', `CRL ${number} is older than the one at hand`);
  }

  #describe(error: { message: string; at: number } | undefined): CrlOnDisk {
    const { facts, time } = this.#deps;
    const known = facts.facts.crl;
    const [inUse, ...others] = this.#shelf.all();
    if (inUse === undefined || inUse !== this.#shelf.inUse) return { ...known, ...(error ? { error } : {}) };
    const { number, thisUpdate, nextUpdate, authorityKeyId } = inUse;
    const url = this.#wanted.find(({ isInUse }) => isInUse)?.crlUrl;
    const etag = url === undefined ? undefined : this.#etags.get(url);
    return {
      number,
      thisUpdate,
      nextUpdate,
      fetchedAt: (known?.number === number ? known.fetchedAt : undefined) ?? time.now(),
      issuer: authorityKeyId,
      others: others.map((held) => ({
        issuer: held.authorityKeyId,
        number: held.number,
        nextUpdate: held.nextUpdate,
      })),
      ...(url === undefined || etag === undefined ? {} : { url, etag }),
      ...(error ? { error } : {}),
    };
  }
}

/** The one in use first. */
function wantedOf({ issuers, crlNumber, crlUrl }: RevocationsBody): WantedCrl[] {
  if (issuers === undefined) return [{ keyId: undefined, crlNumber, crlUrl, isInUse: true }];
  return issuers.map((issuer, index) => ({ ...issuer, isInUse: index === 0 }));
}
