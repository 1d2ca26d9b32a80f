import { isSerialNumber } from '#ca/pkix/serial-number.ts';
import type { CertificateAuthority } from '#ca/ports/certificate-authority.ts';
import { auditEntry } from '#gateway/domain/audit-entry.ts';
import { lifeOf } from '#gateway/domain/renewal/renewal-rule.ts';
import type { Missed } from '#gateway/domain/renewal/replan-missed.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { Log } from '#gateway/ports/log.ts';
import type { Store } from '#gateway/ports/store.ts';
import { noteMovedWindows } from './moved-windows.ts';
import { lastAbleAt, noteAble, OUTAGE_MS } from './renewal-outage.ts';
import type { RenewalPlanner } from './renewal-planner.ts';

export type KeepPlanDeps = {
  store: Store;
  authority: Pick<CertificateAuthority, 'describe'>;
  clock: Clock;
  log: Log;
  renewals: RenewalPlanner;
};

const WINDOWS_SETTING = 'renewal.windows-planned';
const NOTE_EVERY_MS = 60_000;
/** A window that began shortly before the outage had no time to be used. */
const BEFORE_MS = 60_000;
const PAGE = 500;

/**
 * Looks whether devices could renew since the last look. When not (the gateway was down, or its authority), windows
 * that passed meanwhile are planned anew, those that end first in front, so that no minute gets more than its share.
 * An agent asks for its window again before each planned attempt, and so finds the new one; where that does not get
 * through, and to those who are connected, it is told (see WindowTeller). For one process at a time.
 * @returns how many were planned anew
 */
export async function keepRenewalPlan(deps: KeepPlanDeps): Promise<number> {
  const { store, authority, clock } = deps;
  try {
    await authority.describe();
  } catch {
    return 0;
  }
  const now = clock.now();
  const ableAt = (await lastAbleAt(store.read, now)) ?? now;
  const outageMs = now - ableAt;
  if (outageMs > 0 && outageMs < NOTE_EVERY_MS) return 0;
  const replanned = outageMs < OUTAGE_MS ? 0 : await replanAfter(deps, { now, ableAt, outageMs });
  // Only now: what a crash in the middle leaves out is found at the next look.
  await store.write((tables) => noteAble(tables, { now, outageMs }));
  return replanned;
}

async function replanAfter(
  { store, log, renewals }: KeepPlanDeps,
  outage: { now: number; ableAt: number; outageMs: number },
): Promise<number> {
  const { now, ableAt, outageMs } = outage;
  const missed: Missed[] = [];
  for (let from = ableAt - BEFORE_MS, after: string | undefined; ; ) {
    const page = await store.read.certificates.listByRenewal(from, now, PAGE, after);
    for (const certificate of page) {
      if (certificate.supersedeAt === null) missed.push({ serial: certificate.serial, ...lifeOf(certificate) });
    }
    const last = page.at(-1);
    if (page.length < PAGE || last?.renewFrom == null) break;
    from = last.renewFrom;
    after = last.serial;
  }
  const planned = renewals.replan(missed, { now, outageMs });
  for (let first = 0; first < planned.length; first += PAGE) {
    await store.write(async (tables) => {
      for (const { serial, renewFrom, renewUntil } of planned.slice(first, first + PAGE)) {
        if (!isSerialNumber(serial)) continue;
        const certificate = await tables.certificates.find(serial);
        if (certificate?.state !== 'active' || certificate.supersedeAt !== null) continue;
        await tables.certificates.update(serial, { renewFrom, renewUntil });
      }
    });
  }
  if (planned.length > 0) {
    const detail = `${planned.length} windows passed in ${Math.round(outageMs / 1000)} s in which nobody could renew`;
    const from = planned.reduce((least, { renewFrom }) => Math.min(least, renewFrom), Number.POSITIVE_INFINITY);
    const last = planned.reduce((most, { renewFrom }) => Math.max(most, renewFrom), from);
    await store.write(async (tables) => {
      await noteMovedWindows(tables, { at: now, from, until: last + 1 });
      await tables.audit.append(
        auditEntry({ at: now, actor: 'gateway', action: 'renewal.replanned', subject: 'gateway', detail }),
      );
    });
    log.warn('renewals planned anew after an outage', { certificates: planned.length, outageMs });
  }
  return planned.length;
}

/** Once: certificates of a version that planned no windows get theirs. */
export async function planUnplanned({ store, log, renewals }: KeepPlanDeps): Promise<void> {
  if ((await store.read.settings.get(WINDOWS_SETTING)) !== undefined) return;
  let planned = 0;
  for (let after: string | undefined; ; ) {
    const page = await store.read.certificates.list({ state: 'active', limit: PAGE, after });
    const unplanned = page.filter(
      ({ profile, renewFrom, supersedeAt }) => profile === 'device' && renewFrom === null && supersedeAt === null,
    );
    await store.write(async (tables) => {
      for (const certificate of unplanned) {
        await tables.certificates.update(certificate.serial, renewals.plan(certificate));
      }
    });
    planned += unplanned.length;
    after = page.at(-1)?.serial;
    if (page.length < PAGE) break;
  }
  await store.write((tables) => tables.settings.set(WINDOWS_SETTING, 'yes'));
  if (planned > 0) log.info('renewals of earlier certificates planned', { certificates: planned });
}
