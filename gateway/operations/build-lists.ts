import type { AuthorityDescription, CertificateAuthority } from '#ca/ports/certificate-authority.ts';
import { auditEntry } from '#gateway/domain/audit-entry.ts';
import { CLOCK_TOLERANCE_MS } from '#gateway/domain/is-list-old.ts';
import type { IssuerRevocations } from '#gateway/domain/issuer-revocations.ts';
import type { PublishedList, StatusChange } from '#gateway/domain/status-change.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { Log } from '#gateway/ports/log.ts';
import type { Metrics } from '#gateway/ports/metrics.ts';
import type { StatusListArchive } from '#gateway/ports/status-list-archive.ts';
import type { Store } from '#gateway/ports/store.ts';
import { listAgain } from './list-again.ts';
import type { ListIssuer } from './list-issuers.ts';
import { type ListPace, SECOND } from './list-pace.ts';
import type { PublishedLists } from './published-lists.ts';
import { recordLists } from './record-lists.ts';
import { type RevocationIndex, saveDeltaBase } from './revocation-index.ts';
import { dueScopes, type ListRound, signDelta, signList } from './sign-lists.ts';

export type BuildDeps = {
  store: Store;
  authority: CertificateAuthority;
  archive: StatusListArchive;
  clock: Clock;
  metrics: Metrics;
  log: Log;
  /** Milliseconds a CRL is good for. */
  crlValidity: number;
};

/** What the lists are made of, and those in force, which they replace. */
export type ListsInWork = {
  lists: PublishedLists;
  index: RevocationIndex;
  pace: ListPace;
  isOld: (list: PublishedList) => boolean;
  onChanged: (changes: readonly StatusChange[]) => Promise<void>;
};

/**
 * Signs every list that is due, puts it in force and records it. For the process that has the lease.
 * @throws Error of the first issuer whose lists could not be signed, after those of the others are in force
 */
export async function buildLists(
  deps: BuildDeps,
  work: ListsInWork,
  issuers: readonly ListIssuer[],
  description: AuthorityDescription,
): Promise<void> {
  const { clock, log } = deps;
  const { lists, index, pace } = work;
  const started = clock.monotonic();
  // Another process may have made the last ones a moment ago.
  await pace.pause(SECOND);
  await listAgainAfterClock(deps, work, issuers);
  const round = await beginRound(deps, work, description);
  const signed: PublishedList[] = [];
  const failures: unknown[] = [];
  // The one in use last, as it depends on the others; one whose lists cannot be signed does not keep them from theirs.
  for (const { keyId } of issuers.toReversed())
    await signDue(deps, work, await index.of(keyId), round, signed).catch((error: unknown) => failures.push(error));
  // What was signed is in force whether or not it can be recorded, and whatever failed beside it.
  if (signed.length > 0) {
    pace.took(clock.monotonic() - started);
    deps.metrics.crlSigned(lists.full?.entries ?? 0, (clock.monotonic() - started) / 1000);
    await record(deps, work, signed, round);
  }
  if (failures.length > 0) throw failures[0];
  const { full } = lists;
  if (full === undefined || signed.length === 0) return;
  log.info('CRL published', {
    number: full.number,
    entries: full.entries,
    lists: signed.length,
    nextUpdate: new Date(full.nextUpdate).toISOString(),
  });
}

/** As long as a complete list from the future is in force. */
async function listAgainAfterClock(
  { store, clock, log }: BuildDeps,
  { lists, index, onChanged }: ListsInWork,
  issuers: readonly ListIssuer[],
): Promise<void> {
  const now = clock.now();
  const ahead = Math.max(0, ...issuers.map(({ keyId }) => lists.findNamed('full', keyId)?.thisUpdate ?? 0));
  if (ahead <= now + CLOCK_TOLERANCE_MS) return;
  const entries = await listAgain(store, { now, ahead });
  log.warn('a list was made by a clock that was ahead', { aheadMs: ahead - now, entries });
  await onChanged(await index.catchUp());
}

async function beginRound(
  { store, clock, crlValidity }: BuildDeps,
  { lists, index, pace }: ListsInWork,
  { lastCrlNumber }: AuthorityDescription,
): Promise<ListRound> {
  const thisUpdate = Math.floor(clock.now() / SECOND) * SECOND;
  pace.begin(thisUpdate);
  return {
    // The authority remembers its last number: after a restore from an older backup numbers still only rise.
    number: Math.max(lastCrlNumber, await store.read.statusLists.highestNumber(), lists.highestNumber) + 1,
    thisUpdate,
    nextUpdate: thisUpdate + crlValidity,
    seq: index.seq,
  };
}

async function signDue(
  { authority, crlValidity }: BuildDeps,
  { lists, isOld }: ListsInWork,
  revocations: IssuerRevocations,
  round: ListRound,
  signed: PublishedList[],
): Promise<void> {
  const put = (list: PublishedList) => {
    lists.put(list);
    signed.push(list);
  };
  const isToBeMade = (list: PublishedList) => isOld(list) || (list === lists.full && lists.isOutrun);
  for (const scope of dueScopes(revocations, lists, isToBeMade)) {
    // First, so that it is there when the complete list names it.
    const delta = scope.kind === 'full' ? await signDelta(authority, revocations, round) : undefined;
    if (delta !== undefined) put(delta);
    else if (scope.kind === 'full') lists.dropDelta(revocations.issuerKeyId);
    const previous = lists.find(scope, revocations.issuerKeyId);
    put(await signList(authority, revocations, scope, round, { previous, hasDelta: delta !== undefined }));
    if (scope.kind === 'full') {
      const { number, seq, thisUpdate } = round;
      revocations.moveBase({ number, seq, at: thisUpdate }, thisUpdate - crlValidity);
    }
  }
}

async function record(
  { clock, store, archive }: BuildDeps,
  { lists, index }: ListsInWork,
  signed: readonly PublishedList[],
  round: ListRound,
): Promise<void> {
  const { full } = lists;
  // First: whoever reads of a list in the record finds it, or a newer one.
  const failure = await save(archive, signed).catch((error: unknown) => ({ error }));
  const issuers = await Promise.all(
    [...new Set(signed.map(({ scope }) => scope.slice(scope.indexOf('@') + 1)))].map((id) => index.of(id)),
  );
  await store.write(async (tables) => {
    await recordLists(tables, signed, endedBefore(lists, issuers));
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

async function save(archive: StatusListArchive, signed: readonly PublishedList[]): Promise<undefined> {
  for (const list of signed) await archive.save(list.scope, list.der);
}

/** Status changes that no list needs any more: of certificates that every list in force was made after the end of. */
function endedBefore(
  lists: PublishedLists,
  issuers: readonly IssuerRevocations[],
): { endedBefore: number; before: number } {
  return {
    endedBefore: Math.min(...lists.all().map(({ thisUpdate }) => thisUpdate)),
    before: Math.min(...issuers.map(({ base }) => base?.seq ?? 0)),
  };
}
