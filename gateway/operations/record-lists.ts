import { readDer, TAG } from '#ca/pkix/der.ts';
import { DerFields, readOctetsOfBitString } from '#ca/pkix/der-values.ts';
import { PkixError } from '#ca/pkix/pkix-error.ts';
import { isSignatureValid } from '#ca/pkix/signature-algorithm.ts';
import { type CrlScope, formatCrlScope } from '#ca/revocation/crl-scope.ts';
import type { PublishedList, StatusList } from '#gateway/domain/status-change.ts';
import type { Log } from '#gateway/ports/log.ts';
import type { StatusListArchive } from '#gateway/ports/status-list-archive.ts';
import type { Store, Tables } from '#gateway/ports/store.ts';
import type { ListIssuer } from './list-issuers.ts';
import { listName, type PublishedLists } from './published-lists.ts';

const KEPT_ROWS = 3;
/** Dropped with each round: nobody waits for them. */
const PRUNED_CHANGES = 500;

/** What is on record of lists that are in force already; inside the caller's transaction. */
export async function recordLists(
  tables: Tables,
  lists: readonly PublishedList[],
  { endedBefore, before }: { endedBefore: number; before: number },
): Promise<void> {
  for (const { der: _, ...list } of lists) {
    await tables.statusLists.insert(list);
    await tables.statusLists.prune(list.scope, KEPT_ROWS);
  }
  await tables.statusChanges.prune(endedBefore, before, PRUNED_CHANGES);
}

export type RestoreDeps = { store: Pick<Store, 'read'>; archive: StatusListArchive; log: Log };

/** The lists of before a restart, or that another process has made since, as far as they are kept whole. */
export async function restoreLists(
  deps: RestoreDeps,
  lists: PublishedLists,
  issuer: ListIssuer,
  shards: readonly CrlScope[],
): Promise<void> {
  const scopeNames = ['full', 'delta', ...shards.map(formatCrlScope)];
  for (const scopeName of scopeNames) {
    const name = listName(scopeName, issuer.keyId);
    const onRecord = await deps.store.read.statusLists.latest(name);
    if (onRecord === undefined || onRecord.number <= (lists.findNamed(scopeName, issuer.keyId)?.number ?? 0)) continue;
    const list = await restoreList(deps, onRecord, issuer);
    if (list !== undefined) lists.put(list);
  }
  // Made together they have one number (RFC 5280 5.2.3).
  const [full, delta] = ['full', 'delta'].map((kind) => lists.findNamed(kind, issuer.keyId)?.number ?? 0);
  if ((delta ?? 0) < (full ?? 0)) lists.dropDelta(issuer.keyId);
  // Made by a version that knew one list and kept it in the database.
  const last = lists.findNamed('full', issuer.keyId) === undefined ? await deps.store.read.crls.latest() : undefined;
  if (last !== undefined && isSignedBy(last.der, issuer)) {
    lists.put({ ...last, scope: listName('full', issuer.keyId), baseNumber: null, seq: 0 });
  }
}

async function restoreList(
  deps: RestoreDeps,
  list: StatusList,
  issuer: ListIssuer,
): Promise<PublishedList | undefined> {
  const { scope } = list;
  try {
    const der = await deps.archive.load(scope);
    if (der !== undefined && isSignedBy(der, issuer)) return { ...list, der };
    deps.log.warn('CRL on record not kept whole, a new one follows', { list: scope });
  } catch (error) {
    deps.log.warn('CRL on record cannot be read, a new one follows', { list: scope, error: String(error) });
  }
  return undefined;
}

/** Files are written without fsync: what is there may be anything. */
function isSignedBy(der: Buffer, { certificate }: ListIssuer): boolean {
  try {
    const fields = new DerFields(readDer(der), 'a CRL');
    const tbs = fields.take(TAG.sequence, 'its signed part');
    const algorithm = fields.take(TAG.sequence, 'its signature algorithm');
    const signature = readOctetsOfBitString(fields.take(TAG.bitString, 'its signature'), 'a signature');
    return isSignatureValid(algorithm.raw, tbs.raw, signature, certificate.publicKey);
  } catch (error) {
    if (error instanceof PkixError) return false;
    throw error;
  }
}
