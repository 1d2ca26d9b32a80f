import { shardOf } from '#ca/pkix/crl-shard.ts';
import { formatRevokedEntry } from '#ca/revocation/crl.ts';
import { type CrlScope, formatCrlScope } from '#ca/revocation/crl-scope.ts';
import { parseRevocationReason } from '#ca/revocation/reasons.ts';
import { CrlEntries } from './crl-entries.ts';
import type { StatusChange } from './status-change.ts';

/** The complete list that delta lists go on from. `at`: its thisUpdate. */
export type DeltaBase = { number: number; seq: number; at: number };

type OwnScope = Extract<CrlScope, { kind: 'full' | 'shard' }>;

/** A delta list that is longer is not what it is for: the complete one is the news then. */
const MAX_DELTA_ENTRIES = 10_000;

/**
 * What is revoked of one issuer's certificates, as its lists need it: all of it, the same by shards, and what changed
 * since the base of the delta list. Fed with status changes in their order.
 */
export class IssuerRevocations {
  readonly issuerKeyId: string;
  readonly #full = new CrlEntries();
  /** By number of shards: certificates name the number that was in force when they were issued. */
  readonly #shards = new Map<number, CrlEntries[]>();
  /** Since the base, in their order. */
  #changes: { seq: number; serial: string; entry: Buffer }[] = [];
  #base: DeltaBase | undefined;

  /** @param counts numbers of shards in use */
  constructor(issuerKeyId: string, counts: readonly number[], base: DeltaBase | undefined) {
    this.issuerKeyId = issuerKeyId;
    this.#base = base;
    for (const count of counts) {
      if (count === 1) continue;
      this.#shards.set(
        count,
        Array.from({ length: count }, () => new CrlEntries()),
      );
    }
  }

  get base(): DeltaBase | undefined {
    return this.#base;
  }

  apply({ change, serial, reason, at, notAfter, seq }: StatusChange): void {
    // The certificate says itself that there is no status of it (RFC 9608): the gateway knows, and nobody else asks.
    if (change === 'revoked-unlisted') return;
    const isReleased = change === 'released';
    // removeFromCRL also when neither the hold nor its end was on the base: a list between them had it (RFC 5280 5.2.4).
    const said = isReleased ? 'removeFromCRL' : (parseRevocationReason(reason) ?? 'unspecified');
    const entry = formatRevokedEntry({ serial, revokedAt: at, reason: said });
    if (this.#base !== undefined && seq > this.#base.seq) this.#changes.push({ seq, serial, entry });
    for (const list of this.#listsOf(serial)) {
      if (isReleased) list.remove(serial, seq);
      else list.put(serial, entry, notAfter, seq);
    }
  }

  #listsOf(serial: string): CrlEntries[] {
    const shards = [...this.#shards].map(([count, lists]) => lists[shardOf(serial, count)]);
    return [this.#full, ...shards.filter((list) => list !== undefined)];
  }

  /** Of a complete list or a shard. */
  entriesOf(scope: OwnScope): CrlEntries {
    if (scope.kind === 'full') return this.#full;
    const entries = this.#shards.get(scope.count)?.[scope.index];
    if (entries === undefined) throw new RangeError(`there is no ${formatCrlScope(scope)}`);
    return entries;
  }

  shardScopes(): Extract<CrlScope, { kind: 'shard' }>[] {
    return [...this.#shards.keys()].flatMap((count) =>
      Array.from({ length: count }, (_, index) => ({ kind: 'shard' as const, index, count })),
    );
  }

  /** What changed since the base, the last of each serial; undefined: there is no base yet, or too much changed. */
  deltaEntries(): { entries: Buffer; count: number } | undefined {
    if (this.#base === undefined || this.#changes.length > MAX_DELTA_ENTRIES) return undefined;
    const last = new Map(this.#changes.map(({ serial, entry }) => [serial, entry]));
    return { entries: Buffer.concat([...last.values()]), count: last.size };
  }

  /**
   * After a complete list: the first becomes the base; later the list takes its place when too much has changed, or when
   * nobody can still hold a list as old as the base.
   * @param expiredBefore complete lists made before this are not valid any more
   */
  moveBase(list: DeltaBase, expiredBefore: number): void {
    const base = this.#base;
    if (base !== undefined && base.at >= expiredBefore && this.#changes.length <= MAX_DELTA_ENTRIES) return;
    this.followBase(list);
  }

  /** As another process has moved it. */
  followBase(base: DeltaBase | undefined): void {
    if (base === undefined || base.number <= (this.#base?.number ?? 0)) return;
    this.#base = base;
    this.#changes = this.#changes.filter(({ seq }) => seq > base.seq);
  }
}
