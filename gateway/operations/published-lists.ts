import { type CrlScope, formatCrlScope } from '#ca/revocation/crl-scope.ts';
import type { PublishedList } from '#gateway/domain/status-change.ts';

/**
 * The lists in force, in memory: what the status door gives out and health looks at. The last good one of each scope
 * stays until there is a newer one.
 */
export class PublishedLists {
  readonly #lists = new Map<string, PublishedList>();
  #issuers = { first: '', inUse: '' };

  /** @param issuers.first whose lists have paths without a name @param issuers.inUse who issues now */
  set issuers(issuers: { first: string; inUse: string }) {
    this.#issuers = issuers;
  }

  put(list: PublishedList): void {
    this.#lists.set(list.scope, list);
  }

  find(scope: CrlScope, issuerKeyId: string): PublishedList | undefined {
    return this.findNamed(formatCrlScope(scope), issuerKeyId);
  }

  /** @param scopeName of formatCrlScope @param issuerKeyId left out: the first issuer */
  findNamed(scopeName: string, issuerKeyId: string = this.#issuers.first): PublishedList | undefined {
    return this.#lists.get(listName(scopeName, issuerKeyId));
  }

  /** The complete list of the issuer in use. */
  get full(): PublishedList | undefined {
    return this.findNamed('full', this.#issuers.inUse);
  }

  /** Those of issuers that were discarded go: nobody has a certificate that names them. */
  keepOnly(issuerKeyIds: readonly string[]): void {
    for (const name of this.#lists.keys()) {
      if (!issuerKeyIds.includes(name.slice(name.indexOf('@') + 1))) this.#lists.delete(name);
    }
  }

  /** The complete list is the news then: a delta list of before it would be no more than an old one. */
  dropDelta(issuerKeyId: string): void {
    this.#lists.delete(listName('delta', issuerKeyId));
  }

  /** 0 when there is none. */
  get highestNumber(): number {
    return Math.max(0, ...this.all().map(({ number }) => number));
  }

  /** The complete list of each issuer, the one in use first; empty while that one has none. */
  complete(): { keyId: string; number: number }[] {
    const prefix = listName('full', '');
    const found = this.full === undefined ? [] : this.all().filter(({ scope }) => scope.startsWith(prefix));
    const named = found.map(({ scope, number }) => ({ keyId: scope.slice(prefix.length), number }));
    return named.toSorted((a, b) => Number(b.keyId === this.#issuers.inUse) - Number(a.keyId === this.#issuers.inUse));
  }

  /**
   * The fleet notice goes by the number of the list in use, and whoever has heard a higher one does not listen: so that has
   * to be the highest of all complete lists, also when the one in use is another issuer's since a moment ago.
   */
  get isOutrun(): boolean {
    const [inUse, ...others] = this.complete();
    return inUse !== undefined && others.some(({ number }) => number > inUse.number);
  }

  all(): PublishedList[] {
    return [...this.#lists.values()];
  }
}

export function listName(scopeName: string, issuerKeyId: string): string {
  return `${scopeName}@${issuerKeyId}`;
}
