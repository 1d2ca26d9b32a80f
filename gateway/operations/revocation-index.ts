import { type DeltaBase, IssuerRevocations } from '#gateway/domain/issuer-revocations.ts';
import type { StatusChange } from '#gateway/domain/status-change.ts';
import type { Store, Tables } from '#gateway/ports/store.ts';

/** Read at once: about two milliseconds of the event loop. */
const PAGE = 500;
const COUNTS_SETTING = 'crl.shards';
/** As long as any device certificate lives: then nobody names a list of that number of shards any more. */
const KEEP_COUNT_MS = 400 * 24 * 3600 * 1000;
const DAY = 24 * 3600 * 1000;

type CountsInUse = { count: number; until: number }[];

/**
 * What is revoked, by issuer, in memory: filled page by page at the start, and from then on by what is new in the
 * table of status changes. On a database whose counted numbers may become visible out of order, appends to that table
 * have to take turns: what appears below a number already read is not seen until the next start.
 */
export class RevocationIndex {
  readonly #store: Store;
  #issuers = new Map<string, IssuerRevocations>();
  #counts: CountsInUse = [];
  #seq = 0;

  constructor(store: Store) {
    this.#store = store;
  }

  /** Of the newest status change that was read. */
  get seq(): number {
    return this.#seq;
  }

  /**
   * Numbers of shards that certificates may name: that of the authority now, and those of before that may still be
   * valid. With a new one the lists are sorted anew.
   */
  async useShards(count: number, now: number): Promise<void> {
    if (this.#counts.some((one) => one.count === count && one.until > now + KEEP_COUNT_MS - DAY)) return;
    const known = parseCounts(await this.#store.read.settings.get(COUNTS_SETTING));
    const counts = known.filter((one) => one.count !== count && one.until > now);
    counts.push({ count, until: now + KEEP_COUNT_MS });
    await this.#store.write(({ settings }) => settings.set(COUNTS_SETTING, JSON.stringify(counts)));
    this.#take(counts);
  }

  /** Those that the process has written down which makes the lists. */
  async readShards(): Promise<void> {
    this.#take(parseCounts(await this.#store.read.settings.get(COUNTS_SETTING)));
  }

  #take(counts: CountsInUse): void {
    const isNew = counts.some((one) => !this.#counts.some((before) => before.count === one.count));
    this.#counts = counts;
    if (!isNew) return;
    this.#issuers = new Map();
    this.#seq = 0;
  }

  /** The bases that the process which makes the lists has moved to: what changed before them need not be kept here. */
  async readBases(): Promise<void> {
    for (const issuer of this.#issuers.values()) issuer.followBase(await this.#readBase(issuer.issuerKeyId));
  }

  async #readBase(issuerKeyId: string): Promise<DeltaBase | undefined> {
    const text = await this.#store.read.settings.get(baseSetting(issuerKeyId));
    return text === undefined ? undefined : (JSON.parse(text) as DeltaBase);
  }

  async of(issuerKeyId: string): Promise<IssuerRevocations> {
    const known = this.#issuers.get(issuerKeyId);
    if (known !== undefined) return known;
    const counts = this.#counts.map(({ count }) => count);
    const base = await this.#readBase(issuerKeyId);
    const issuer = new IssuerRevocations(issuerKeyId, counts, base);
    this.#issuers.set(issuerKeyId, issuer);
    return issuer;
  }

  /** Reads what is new. */
  async catchUp(): Promise<StatusChange[]> {
    const changes: StatusChange[] = [];
    for (;;) {
      const page = await this.#store.read.statusChanges.listAfter(this.#seq, PAGE);
      for (const change of page) {
        (await this.of(change.issuerKeyId)).apply(change);
        changes.push(change);
        this.#seq = change.seq;
      }
      if (page.length < PAGE) return changes;
      // Between pages the doors get their turn.
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}

export async function saveDeltaBase({ settings }: Tables, { issuerKeyId, base }: IssuerRevocations): Promise<void> {
  if (base !== undefined) await settings.set(baseSetting(issuerKeyId), JSON.stringify(base));
}

function baseSetting(issuerKeyId: string): string {
  return `crl.base@${issuerKeyId}`;
}

function parseCounts(text: string | undefined): CountsInUse {
  return text === undefined ? [] : (JSON.parse(text) as CountsInUse);
}
