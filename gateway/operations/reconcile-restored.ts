import { AuthorityError, type IssuedPage } from '#ca/ports/certificate-authority.ts';
import { auditEntry } from '#gateway/domain/audit-entry.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { Log } from '#gateway/ports/log.ts';
import { listIssuers } from './list-issuers.ts';
import { type RecoverIssuedDeps, recoverIssued } from './recover-issued.ts';
import { findLaterLists, type TakeOverDeps, takeOverRevocations } from './take-over-revocations.ts';

export type ReconcileRestoredDeps = RecoverIssuedDeps & TakeOverDeps & { clock: Clock; log: Log };

/** Octets of the authority's journal up to which the store knows every certificate, or the request it was made for. */
const POSITION_SETTING = 'authority.journal-read';
const LAPSED_PAGE = 10_000;

/**
 * At a start, before any door opens: a store that was restored from an older copy learns from the authority what it has
 * forgotten. Certificates come from the journal, revocations from the last complete lists. Nothing of it is done while
 * such a list is missing, because what is let in again might have been revoked: then devices need tickets.
 * After an orderly run, or a kill, there is nothing to be found: every request is on record before its signature.
 * @returns false when the journal was not read to its end
 * @throws AuthorityError
 */
export async function reconcileRestored(deps: ReconcileRestoredDeps): Promise<boolean> {
  const { store, authority, clock, log } = deps;
  const now = clock.now();
  const description = await authority.describe();
  if (description.journalLength === undefined) return false;
  const { lists, isComplete } = await findLaterLists(deps, listIssuers(description, now));
  if (!isComplete) {
    const detail = 'a list that the authority has signed later is missing: what was revoked since is not known';
    log.error('this store is older than the last list of revocations, and that is not at hand', {
      next: 'revoke again what was revoked since the backup; devices that renewed since need a new ticket',
    });
    await note(deps, detail, now);
    return false;
  }
  const revoked = new Set(lists.flatMap((list) => [...list.revoked.keys()]));
  const { next, recovered, skipped } = await recoverAll(deps, { now, revoked });
  if (lists.length > 0 || recovered > 0) await keepUnused(deps, now);
  let taken = 0;
  for (const list of lists) taken += await takeOverRevocations(deps, list, now);
  if (recovered + skipped + taken > 0) {
    const detail = `${recovered} certificates recovered from the journal, ${skipped} left out, ${taken} revocations taken over`;
    log.warn('this store was restored from an older copy', { recovered, skipped, revoked: taken });
    await note(deps, detail, now);
  }
  // Last: broken off before, all of it is done again.
  await store.write((tables) => tables.settings.set(POSITION_SETTING, String(next)));
  return true;
}

/** Now and then, while the gateway runs: what is signed up to now is known here, so that a start has little to read. */
export async function keepJournalPosition(deps: Pick<ReconcileRestoredDeps, 'store' | 'authority'>): Promise<void> {
  const { journalLength } = await deps.authority.describe();
  const text = String(journalLength);
  if (journalLength === undefined || text === (await deps.store.read.settings.get(POSITION_SETTING))) return;
  await deps.store.write((tables) => tables.settings.set(POSITION_SETTING, text));
}

async function recoverAll(
  deps: ReconcileRestoredDeps,
  order: { now: number; revoked: ReadonlySet<string> },
): Promise<{ next: number; recovered: number; skipped: number }> {
  const count = { known: 0, 'none of a device': 0, recovered: 0, skipped: 0 };
  let from = Number((await deps.store.read.settings.get(POSITION_SETTING)) ?? 0);
  for (;;) {
    const { issued, next } = await readPage(deps, from);
    for (const one of issued) count[await recoverIssued(deps, one, order)] += 1;
    if (next < from) deps.log.error("the authority's journal is shorter than before", { from, next });
    if (next <= from) return { next, recovered: count.recovered, skipped: count.skipped };
    from = next;
  }
}

/** Another journal than the one that was read before is read from its beginning. */
async function readPage({ authority, log }: ReconcileRestoredDeps, from: number): Promise<IssuedPage> {
  try {
    return await authority.readIssued(from);
  } catch (error) {
    if (from === 0 || !(error instanceof AuthorityError) || error.code !== 'ORDER_MALFORMED') throw error;
    log.warn("the authority's journal is another than before, it is read from its beginning", { error: error.message });
    return authority.readIssued(0);
  }
}

/** What waited for its first use at the time of the backup may be in use since: if it had lapsed, it would be on a list. */
async function keepUnused({ store }: ReconcileRestoredDeps, now: number): Promise<void> {
  for (;;) {
    const due = await store.read.certificates.listDue(now, LAPSED_PAGE);
    const unused = due.filter(({ state, lapseAt }) => state === 'pending' && lapseAt !== null && lapseAt <= now);
    if (unused.length === 0) return;
    await store.write(async (tables) => {
      for (const { serial } of unused) await tables.certificates.update(serial, { lapseAt: null });
    });
    if (due.length < LAPSED_PAGE) return;
  }
}

async function note({ store }: ReconcileRestoredDeps, detail: string, now: number): Promise<void> {
  await store.write((tables) =>
    tables.audit.append(
      auditEntry({ at: now, actor: 'gateway', action: 'store.restored', subject: 'gateway', detail }),
    ),
  );
}
