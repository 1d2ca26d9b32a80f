import { isListOld } from '#gateway/domain/is-list-old.ts';
import type { PublishedList, StatusChange } from '#gateway/domain/status-change.ts';
import { type BuildDeps, buildLists, type ListsInWork } from './build-lists.ts';
import { type ListIssuer, listIssuers } from './list-issuers.ts';
import { ListPace } from './list-pace.ts';
import { PublishedLists } from './published-lists.ts';
import { restoreLists } from './record-lists.ts';
import { RevocationIndex } from './revocation-index.ts';
import { dueScopes } from './sign-lists.ts';
import { type TellFleetDeps, tellFleet } from './tell-fleet.ts';
import type { WorkLeases } from './work-leases.ts';

export type PublishDeps = TellFleetDeps &
  BuildDeps & {
    /** One process builds for all those on a database; the others read what it made. */
    leases: Pick<WorkLeases, 'run'>;
  };

const WAIT_FOR_CRL_MS = 1500;
const LEASE = 'status lists';

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
  readonly #pace: ListPace;
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;
  readonly #restored = new Set<string>();
  /** Whose lists are made, as of the last round. */
  #issuers: readonly ListIssuer[] = [];
  /** What changed is read here, and the process that builds has not made its lists yet, or has died. */
  #isWaiting = false;
  #failure: { since: number; error: string } | undefined;
  /** Base of the URLs in what is certified now, as the authority told last. */
  #statusUrl: string | undefined;
  /** Which CRLs of roots the fleet was told of last. */
  #toldRoots = '';

  constructor(deps: PublishDeps) {
    this.#deps = deps;
    this.#index = new RevocationIndex(deps.store);
    this.#pace = new ListPace(deps.clock);
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
    if (this.#pace.isTooSoon) return;
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

  get #inWork(): ListsInWork {
    return {
      lists: this.lists,
      index: this.#index,
      pace: this.#pace,
      isOld: (list) => this.#isOld(list),
      onChanged: (changes) => this.onChanged(changes),
    };
  }

  #isOld(list: PublishedList): boolean {
    const { clock, crlValidity } = this.#deps;
    return isListOld(list, { now: clock.now(), crlValidity, statusUrl: this.#statusUrl });
  }

  async #run(): Promise<void> {
    const { clock, metrics } = this.#deps;
    await this.#pace.pause(this.#pace.interval);
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
      await buildLists(this.#deps, this.#inWork, issuers, description);
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
    this.#pace.follow(this.lists.all().map(({ thisUpdate }) => thisUpdate));
  }
}
