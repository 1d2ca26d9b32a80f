import type { CertificateAuthority } from '#ca/ports/certificate-authority.ts';
import { type CrlScope, formatCrlScope } from '#ca/revocation/crl-scope.ts';
import type { IssuerRevocations } from '#gateway/domain/issuer-revocations.ts';
import type { PublishedList } from '#gateway/domain/status-change.ts';
import { listName, type PublishedLists } from './published-lists.ts';

/** Octets joined before others get their turn: about a millisecond. */
const SLICE = 100_000;

export type ListRound = {
  /** The same for all lists made together: complete and delta list of one moment share it (RFC 5280 5.2.3). */
  number: number;
  /** Milliseconds UTC. */
  thisUpdate: number;
  nextUpdate: number;
  /** Of the newest status change that was read. */
  seq: number;
};

type OwnScope = Extract<CrlScope, { kind: 'full' | 'shard' }>;

/** Which lists have to be made: those that lack something, and those `isOld` says. The complete one comes first. */
export function dueScopes(
  revocations: IssuerRevocations,
  lists: PublishedLists,
  isOld: (list: PublishedList) => boolean,
): OwnScope[] {
  const scopes: OwnScope[] = [{ kind: 'full' }, ...revocations.shardScopes()];
  return scopes.filter((scope) => {
    const list = lists.find(scope, revocations.issuerKeyId);
    return list === undefined || isOld(list) || revocations.entriesOf(scope).seq > list.seq;
  });
}

/** One complete list or shard. @throws AuthorityError */
export async function signList(
  authority: CertificateAuthority,
  revocations: IssuerRevocations,
  scope: OwnScope,
  round: ListRound,
  { previous, hasDelta }: { previous: PublishedList | undefined; hasDelta: boolean },
): Promise<PublishedList> {
  const entries = revocations.entriesOf(scope);
  // A list from a wrong clock's future has listed nothing after the end of anything.
  if (previous !== undefined) entries.dropEnded(Math.min(previous.thisUpdate, round.thisUpdate));
  while (!entries.encodeSome(SLICE)) await new Promise((resolve) => setImmediate(resolve));
  const whole = scope.kind === 'full' && hasDelta ? { ...scope, hasDelta } : scope;
  return sign(authority, revocations.issuerKeyId, whole, round, {
    entries: entries.join(),
    count: entries.size,
  });
}

/** What changed since the base; undefined while there is none. @throws AuthorityError */
export async function signDelta(
  authority: CertificateAuthority,
  revocations: IssuerRevocations,
  round: ListRound,
): Promise<PublishedList | undefined> {
  const { base } = revocations;
  const delta = revocations.deltaEntries();
  if (base === undefined || delta === undefined) return undefined;
  return sign(authority, revocations.issuerKeyId, { kind: 'delta', baseNumber: base.number }, round, delta);
}

async function sign(
  authority: CertificateAuthority,
  issuerKeyId: string,
  scope: CrlScope,
  { number, thisUpdate, nextUpdate, seq }: ListRound,
  { entries, count }: { entries: Buffer; count: number },
): Promise<PublishedList> {
  const der = await authority.signCrl({ scope, issuerKeyId, number, thisUpdate, nextUpdate, entries });
  return {
    scope: listName(formatCrlScope(scope), issuerKeyId),
    number,
    baseNumber: scope.kind === 'delta' ? scope.baseNumber : null,
    thisUpdate,
    nextUpdate,
    entries: count,
    seq,
    der,
  };
}
