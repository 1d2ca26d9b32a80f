import type { AuthorityDescription, CertificateAuthority } from '#ca/ports/certificate-authority.ts';
import { auditEntry } from '#gateway/domain/audit-entry.ts';
import type { IssuerRevocations } from '#gateway/domain/issuer-revocations.ts';
import type { PublishedList, StatusChange } from '#gateway/domain/status-change.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { Log } from '#gateway/ports/log.ts';
import type { Metrics } from '#gateway/ports/metrics.ts';
import type { StatusListArchive } from '#gateway/ports/status-list-archive.ts';
import type { Store } from '#gateway/ports/store.ts';
import { listAgain } from './list-again.ts';
import { type ListIssuer, listIssuers } from './list-issuers.ts';
import { PublishedLists } from './published-lists.ts';
import { recordLists, restoreLists } from './record-lists.ts';
import { RevocationIndex, saveDeltaBase } from './revocation-index.ts';
import { dueScopes, type ListRound, signDelta, signList } from './sign-lists.ts';
import { type TellFleetDeps, tellFleet } from './tell-fleet.ts';
import type { WorkLeases } from './work-leases.ts';

export type PublishDeps = TellFleetDeps & {
  store: Store;
  authority: CertificateAuthority;
  archive: StatusListArchive;
  clock: Clock;
  metrics: Metrics;
  log: Log;
  /** One process builds for all those on a database; the others read what it made. */
  leases: Pick<WorkLeases, 'run'>;
  /** Milliseconds a CRL is good for; it is replaced long before (see CRL_PERIODS_VALID). */
  crlValidity: number;
};

/** A CRL is replaced after this share of its life, so that relying parties survive several failed builds. */
const CRL_PERIODS_VALID = 8;
const WAIT_FOR_CRL_MS = 1500;
const LEASE = 'status lists';
/** Further ahead than this a CRL was made by a clock that was wrong. */
const CLOCK_TOLERANCE_MS = 5 * 60_000;
/** X.509 times are whole seconds: two lists in one second could not be told apart (thisUpdate must rise). */
const SECOND = 1000;
/** The next lists come so many times later than these took: in a long series of revocations a tenth is spent on lists. */
const PACE = 10;
const LONGEST_INTERVAL_MS = 5_000;

/**
 * Publishes what was revoked: signed lists for all that came in meanwhile, never two rounds at a time, and the retained
 * fleet notice. What is revoked stays in memory, and a round costs what changed (see RevocationIndex and CrlEntries).
 * When a build fails the last good lists stay served, the next attempt follows, and health says so.
 * Of several processes on a database the one with the lease builds; the others take over what it made, and go on
 * building when it has died.
 */
export class RevocationPublisher {
  readonly lists = new PublishedLists();
  /** Told which certificates have another status now, in this process or another. */
  onChanged: (changes: readonly StatusChange[]) => Promise<void> = () => Promise.resolve();
  readonly #deps: PublishDeps;
  readonly #index: RevocationIndex;
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;
  readonly #restored = new Set<string>();
  /** Whose lists are made, as of the last round. */
  #issuers: readonly ListIssuer[] = [];
  /** What changed is read here, and the process that builds has not made its lists yet, or has died. */
  #isWaiting = false;
  #lastThisUpdate = 0;
  #lastRoundMs = 0;
  #failure: { since: number; error: string } | undefined;
  /** Base of the URLs in what is certified now, as the authority told last. */
  #statusUrl: string | undefined;
  /** Which CRLs of roots the fleet was told of last. */
  #toldRoots = '';

  constructor(deps: PublishDeps) {
    this.#deps = deps;
    this.#index = new RevocationIndex(deps.store);
  }

  /** Since when lists have failed to be made, and why at last; undefined: the last one succeeded. */
  get failure(): { since: number; error: string } | undefined {
    return this.#failure;
  }

  /** Publishes, sharing the work of those who ask at the same time. Rejects when a list could not be built. */
  publish(): Promise<void> {
    if (this.#running === undefined) {
      this.#running = this.#run().finally(() => {
        this.#running = undefined;
      });
      return this.#running;
    }
    // What is running may have read the table already: one more run covers everybody who asks from now on.
    this.#next ??= this.#running
      .catch(() => undefined)
      .then(() => {
        this.#next = undefined;
        return this.publish();
      });
    return this.#next;
  }

  /**
   * Publishes what was just committed, and waits for the CRL when it can be made at once: whoever revokes one device
   * finds it listed. In a series of revocations the next CRL comes a while after the last, and nobody waits for that.
   * A failure is logged and tried again by the sweep.
   */
  async published(): Promise<void> {
    const work = this.publish().catch((error: unknown) => {
      this.#deps.log.error('CRL not rebuilt, the last one stays in force', { error: String(error) });
    });
    const sinceLast = this.#deps.clock.now() - this.#lastThisUpdate;
    if (sinceLast >= 0 && sinceLast < this.#interval) return;
    let timer: NodeJS.Timeout | undefined;
    const patience = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, WAIT_FOR_CRL_MS);
    });
    await Promise.race([work, patience]);
    clearTimeout(timer);
  }

  /** One look, to be taken every few seconds: publishes when something is due. */
  async turn(): Promise<void> {
    if (await this.isDue()) await this.publish();
  }

  /**
   * True when a list in force is missing, old enough to be replaced, from the future, or lacks a change, and when
   * another process has made newer ones.
   */
  async isDue(): Promise<boolean> {
    // After a failure more may have been read than any list has.
    if (this.#failure !== undefined || this.#isWaiting || this.lists.full === undefined) return true;
    if ((await this.#rootCrls()) !== this.#toldRoots) return true;
    if (await this.#isAnyDue(this.#issuers)) return true;
    const { statusChanges, statusLists } = this.#deps.store.read;
    if ((await statusChanges.newestSeq()) > this.#index.seq) return true;
    return (await statusLists.highestNumber()) > this.lists.highestNumber;
  }

  /** What nobody makes anew (a list of an issuer that has expired, a delta list that got too long) is old and not due. */
  async #isAnyDue(issuers: readonly ListIssuer[]): Promise<boolean> {
    if (this.lists.isOutrun) return true;
    for (const { keyId } of issuers) {
      const revocations = await this.#index.of(keyId);
      if (dueScopes(revocations, this.lists, (list) => this.#isOld(list)).length > 0) return true;
    }
    return false;
  }

  get #interval(): number {
    return Math.min(LONGEST_INTERVAL_MS, Math.max(SECOND, PACE * this.#lastRoundMs));
  }

  #isOld(list: PublishedList): boolean {
    const age = this.#deps.clock.now() - list.thisUpdate;
    if (this.#statusUrl !== undefined && !isAt(list, this.#statusUrl)) return true;
    return age >= this.#deps.crlValidity / CRL_PERIODS_VALID || age < -CLOCK_TOLERANCE_MS;
  }

  async #run(): Promise<void> {
    const { clock, metrics } = this.#deps;
    await this.#pause(this.#interval);
    try {
      await this.#publishAll();
      this.#failure = undefined;
    } catch (error) {
      this.#failure = { since: this.#failure?.since ?? clock.now(), error: String(error) };
      metrics.crlFailed();
      // The notice says what the lists in force do not.
      await this.#tellFleet().catch(() => undefined);
      throw error;
    }
  }

  async #publishAll(): Promise<void> {
    const { authority, clock, leases } = this.#deps;
    const description = await authority.describe();
    this.#statusUrl = description.statusUrl;
    const issuers = listIssuers(description, clock.now());
    this.#issuers = issuers;
    const first = description.issuers?.[0]?.keyId;
    if (description.issuers !== undefined) this.lists.keepOnly(description.issuers.map(({ keyId }) => keyId));
    const isBuilder = await leases.run(LEASE, async () => {
      await this.#index.useShards(description.crlShards ?? 1, clock.now());
      await this.#readOn(issuers, first);
      await this.#build(issuers, description);
      this.#isWaiting = false;
    });
    if (!isBuilder) await this.#follow(issuers, first);
    const roots = await this.#rootCrls();
    await this.#tellFleet();
    this.#toldRoots = roots;
  }

  /** Whose list is not named is taken off devices: as long as one is missing that is to be there, none is named. */
  #tellFleet(): Promise<void> {
    const isWhole = this.#issuers.every(({ keyId }) => this.lists.findNamed('full', keyId) !== undefined);
    return tellFleet(this.#deps, this.lists.complete(), { isWhole });
  }

  /** A person has signed one with the root key: the fleet is to hear of it. */
  async #rootCrls(): Promise<string> {
    const lists = (await this.#deps.readRootCrls?.()) ?? [];
    return lists.map(({ keyId, number }) => `${keyId}:${number}`).join(' ');
  }

  async #follow(issuers: readonly ListIssuer[], first: string | undefined): Promise<void> {
    await this.#index.readShards();
    await this.#readOn(issuers, first);
    await this.#index.readBases();
    this.#isWaiting = await this.#isAnyDue(issuers);
  }

  /** What others have made, and what has changed. */
  async #readOn(issuers: readonly ListIssuer[], first: string | undefined): Promise<void> {
    await this.#restore(issuers, first);
    await this.onChanged(await this.#index.catchUp());
  }

  async #build(issuers: readonly ListIssuer[], description: AuthorityDescription): Promise<void> {
    const { clock, log } = this.#deps;
    const started = clock.monotonic();
    // Another process may have made the last ones a moment ago.
    await this.#pause(SECOND);
    await this.#listAgain(issuers);
    const round = await this.#beginRound(description);
    const signed: PublishedList[] = [];
    const failures: unknown[] = [];
    // The one in use last, as it depends on the others; one whose lists cannot be signed does not keep them from theirs.
    for (const { keyId } of issuers.toReversed())
      await this.#signAll(await this.#index.of(keyId), round, signed).catch((error: unknown) => failures.push(error));
    // What was signed is in force whether or not it can be recorded, and whatever failed beside it.
    if (signed.length > 0) await this.#record(signed, round, started);
    if (failures.length > 0) throw failures[0];
    const { full } = this.lists;
    if (full === undefined || signed.length === 0) return;
    log.info('CRL published', {
      number: full.number,
      entries: full.entries,
      lists: signed.length,
      nextUpdate: new Date(full.nextUpdate).toISOString(),
    });
  }

  /** As long as a complete list from the future is in force. */
  async #listAgain(issuers: readonly ListIssuer[]): Promise<void> {
    const { store, clock, log } = this.#deps;
    const now = clock.now();
    const ahead = Math.max(0, ...issuers.map(({ keyId }) => this.lists.findNamed('full', keyId)?.thisUpdate ?? 0));
    if (ahead <= now + CLOCK_TOLERANCE_MS) return;
    const entries = await listAgain(store, { now, ahead });
    log.warn('a list was made by a clock that was ahead', { aheadMs: ahead - now, entries });
    await this.onChanged(await this.#index.catchUp());
  }

  /** Until the last lists are `ms` old, by a clock that was not set back. */
  async #pause(ms: number): Promise<void> {
    const wait = this.#lastThisUpdate + ms - this.#deps.clock.now();
    if (wait > 0 && wait <= ms) await new Promise((resolve) => setTimeout(resolve, wait));
  }

  /** After a restart, and while another process builds, the lists on record are in force until there are newer ones. */
  async #restore(issuers: readonly ListIssuer[], first: string | undefined): Promise<void> {
    const isBehind = (await this.#deps.store.read.statusLists.highestNumber()) > this.lists.highestNumber;
    for (const issuer of issuers) {
      if (this.#restored.has(issuer.keyId) && !isBehind) continue;
      const scopes = (await this.#index.of(issuer.keyId)).shardScopes();
      await restoreLists(this.#deps, this.lists, issuer, scopes);
      this.#restored.add(issuer.keyId);
    }
    const [inUse] = issuers;
    if (inUse !== undefined) this.lists.issuers = { first: first ?? inUse.keyId, inUse: inUse.keyId };
    // Not one from a wrong clock's future: nobody would wait for that.
    const times = this.lists.all().map(({ thisUpdate }) => thisUpdate);
    this.#lastThisUpdate = Math.max(this.#lastThisUpdate, ...times.filter((time) => time <= this.#deps.clock.now()));
  }

  async #beginRound({ lastCrlNumber }: AuthorityDescription): Promise<ListRound> {
    const { store, clock, crlValidity } = this.#deps;
    const thisUpdate = Math.floor(clock.now() / SECOND) * SECOND;
    this.#lastThisUpdate = thisUpdate;
    return {
      // The authority remembers its last number: after a restore from an older backup numbers still only rise.
      number: Math.max(lastCrlNumber, await store.read.statusLists.highestNumber(), this.lists.highestNumber) + 1,
      thisUpdate,
      nextUpdate: thisUpdate + crlValidity,
      seq: this.#index.seq,
    };
  }

  async #signAll(revocations: IssuerRevocations, round: ListRound, signed: PublishedList[]): Promise<void> {
    const { authority } = this.#deps;
    const { lists } = this;
    const put = (list: PublishedList) => {
      lists.put(list);
      signed.push(list);
    };
    const isToBeMade = (list: PublishedList) => this.#isOld(list) || (list === lists.full && this.lists.isOutrun);
    for (const scope of dueScopes(revocations, lists, isToBeMade)) {
      // First, so that it is there when the complete list names it.
      const delta = scope.kind === 'full' ? await signDelta(authority, revocations, round) : undefined;
      if (delta !== undefined) put(delta);
      else if (scope.kind === 'full') lists.dropDelta(revocations.issuerKeyId);
      const previous = lists.find(scope, revocations.issuerKeyId);
      put(await signList(authority, revocations, scope, round, { previous, hasDelta: delta !== undefined }));
      if (scope.kind === 'full') {
        const { number, seq, thisUpdate } = round;
        revocations.moveBase({ number, seq, at: thisUpdate }, thisUpdate - this.#deps.crlValidity);
      }
    }
  }

  async #record(signed: readonly PublishedList[], round: ListRound, started: number): Promise<void> {
    const { clock, metrics, store } = this.#deps;
    const full = this.lists.full;
    this.#lastRoundMs = clock.monotonic() - started;
    metrics.crlSigned(full?.entries ?? 0, this.#lastRoundMs / 1000);
    // First: whoever reads of a list in the record finds it, or a newer one.
    const failure = await this.#save(signed).catch((error: unknown) => ({ error }));
    const issuers = await Promise.all(
      [...new Set(signed.map(({ scope }) => scope.slice(scope.indexOf('@') + 1)))].map((id) => this.#index.of(id)),
    );
    await store.write(async (tables) => {
      await recordLists(tables, signed, this.#endedBefore(issuers));
      for (const issuer of issuers) await saveDeltaBase(tables, issuer);
      await tables.audit.append(
        auditEntry({
          at: clock.now(),
          actor: 'gateway',
          action: 'crl.signed',
          subject: `crl ${round.number}`,
          detail: `${full?.entries ?? 0} entries, ${signed.length} ${signed.length === 1 ? 'list' : 'lists'}`,
        }),
      );
    });
    if (failure !== undefined) throw failure.error;
  }

  async #save(signed: readonly PublishedList[]): Promise<undefined> {
    for (const list of signed) await this.#deps.archive.save(list.scope, list.der);
  }

  /** Status changes that no list needs any more: of certificates that every list in force was made after the end of. */
  #endedBefore(issuers: readonly IssuerRevocations[]): { endedBefore: number; before: number } {
    return {
      endedBefore: Math.min(...this.lists.all().map(({ thisUpdate }) => thisUpdate)),
      before: Math.min(...issuers.map(({ base }) => base?.seq ?? 0)),
    };
  }
}

/** The extensions of a list, at its end, and the signature after them. */
const TAIL = 8192;

/**
 * Whether certificates that are issued now name this list: when the status server has moved, a shard of before is not theirs
 * (RFC 5280 6.3.3 b 2 i), and programs that check would refuse them.
 */
function isAt({ scope, der }: PublishedList, statusUrl: string): boolean {
  return !scope.startsWith('shard-') || der.subarray(-TAIL).includes(`${statusUrl}/crl/`);
}
