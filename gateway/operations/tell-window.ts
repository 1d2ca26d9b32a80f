import type { SerialNumber } from '#ca/pkix/serial-number.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { SuggestedWindow } from '#gateway/contract/renewal-info.ts';
import { type NoticeRecord, UNFINISHED_NOTICE_STATES } from '#gateway/domain/notice-record.ts';
import { isWindowKnown } from '#gateway/domain/renewal/is-window-known.ts';
import type { LiveSession } from '#gateway/ports/broker.ts';
import type { Log } from '#gateway/ports/log.ts';
import type { Tables } from '#gateway/ports/store.ts';
import { type DeliverDeps, deliverPendingNotices } from './deliver-notices.ts';
import { readPlannedRenewal } from './last-report.ts';
import { readMovedWindows } from './moved-windows.ts';
import { readRenewNotice } from './order-renewal.ts';
import { type QueueNoticeDeps, queueNotice } from './queue-notice.ts';
import { suggestedWindow } from './renewal-planner.ts';

export type TellWindowDeps = DeliverDeps & QueueNoticeDeps & { log: Log };

type Told = Pick<LiveSession, 'deviceId' | 'serial'>;

/** A client that has said nothing about its next renewal by then does not report, and cannot be asked. */
const PATIENCE_MS = 10_000;
/** A device that keeps to another moment (a part of a life is kept for attempts) is not told the same again before this. */
const REPEAT_MS = 24 * 3600_000;
/** As many `renew` notices of a device are looked through for one that says the same. */
const LOOKED_THROUGH = 20;
/** In one turn. */
const BATCH = 100;

/**
 * Tells a device, by a signed `renew` notice, the window in which its certificate is to be renewed, where its own report
 * shows that it does not know it: one without a way to renewal-info whose window was planned anew, one whose certificate
 * came by other software, and whoever listens and reports nothing. The window comes with the certificate, so in a fleet
 * of agents that goes well there is nobody to tell, and no row is written.
 */
export class WindowTeller {
  readonly #deps: TellWindowDeps;
  /** Those who listen and have not reported, in the order in which they came. `at`: monotonic. */
  readonly #silent = new Map<DeviceId, Told & { at: number }>();
  /** How far those are told whose windows moved. */
  #moved: { at: number; from: number; until: number; after?: string } | undefined;
  #movedUpTo: number | undefined;

  constructor(deps: TellWindowDeps) {
    this.#deps = deps;
  }

  /** It listens for its notices. */
  listens({ deviceId, serial }: Told): void {
    if (this.#silent.get(deviceId)?.serial === serial) return;
    // Behind those who have waited longer, also when it came before with another certificate.
    this.#silent.delete(deviceId);
    this.#silent.set(deviceId, { deviceId, serial, at: this.#deps.clock.monotonic() });
  }

  /**
   * A device that is connected with this certificate has reported.
   * @param plannedAt when it means to renew, milliseconds UTC; undefined: an agent that does not say
   */
  async note(session: Told, plannedAt: number | null | undefined): Promise<void> {
    if (plannedAt === undefined) return;
    this.#silent.delete(session.deviceId);
    await this.#tell(session, plannedAt);
  }

  /** To be called every second or so. */
  async turn(): Promise<void> {
    await this.#tellSilent();
    await this.#tellMoved();
  }

  async #tellSilent(): Promise<void> {
    const due = this.#deps.clock.monotonic() - PATIENCE_MS;
    const told: Told[] = [];
    for (const each of this.#silent.values()) {
      if (each.at > due || told.length === BATCH) break;
      told.push(each);
    }
    for (const each of told) {
      this.#silent.delete(each.deviceId);
      await this.#tellByRecord(each);
    }
  }

  /** Whose windows were planned anew while they are connected here, by whichever process: those that come first in front. */
  async #tellMoved(): Promise<void> {
    const { store } = this.#deps;
    const moved = await readMovedWindows(store.read);
    // What was moved before this process began is told to those who report.
    this.#movedUpTo ??= moved?.at ?? 0;
    // Not by which is later: the clock may have been set back in between.
    if (moved !== undefined && moved.at !== this.#movedUpTo) {
      this.#movedUpTo = moved.at;
      this.#moved = moved;
    }
    if (this.#moved === undefined) return;
    const { from, until, after } = this.#moved;
    const page = await store.read.certificates.listByRenewal(from, until, BATCH, after);
    for (const { deviceId, serial } of page) if (deviceId !== null) await this.#tellByRecord({ deviceId, serial });
    const last = page.length < BATCH ? undefined : page.at(-1);
    this.#moved = last?.renewFrom == null ? undefined : { ...this.#moved, from: last.renewFrom, after: last.serial };
  }

  /** One that is connected here, by what it reported last. */
  async #tellByRecord(told: Told): Promise<void> {
    const { store, broker } = this.#deps;
    const { deviceId, serial } = told;
    if (!broker.sessionsOf(deviceId).some((session) => session.serial === serial)) return;
    const device = await store.read.devices.find(deviceId);
    await this.#tell(told, device && readPlannedRenewal(device, serial));
  }

  async #tell({ deviceId, serial }: Told, plannedAt: number | null | undefined): Promise<void> {
    const { store, clock, metrics, log } = this.#deps;
    const now = clock.now();
    const known = await windowOf(store.read, serial);
    if (known === undefined || isWindowKnown(known, plannedAt, now)) return;
    const window = await store.write((tables) => this.#queue(tables, { deviceId, serial, plannedAt, now }));
    if (window === undefined) return;
    log.info('device told when to renew', { deviceId, serial, ...window });
    metrics.notice('queued');
    await deliverPendingNotices(this.#deps, deviceId);
  }

  /** @returns undefined when there is nothing to tell (any more). */
  async #queue(
    tables: Tables,
    told: Told & { plannedAt: number | null | undefined; now: number },
  ): Promise<SuggestedWindow | undefined> {
    const { deviceId, serial, plannedAt, now } = told;
    const window = await windowOf(tables, serial);
    if (window === undefined || isWindowKnown(window, plannedAt, now)) return undefined;
    const unfinished = await tables.notices.listUnfinished(deviceId, now);
    // It has been ordered to renew: when, it knows better than by this.
    const isOrdered = unfinished
      .map(readRenewNotice)
      .some((renew) => renew?.serial === serial && renew.planned !== true);
    if (isOrdered) return undefined;
    const before = (await tables.notices.listByDevice(deviceId, LOOKED_THROUGH, 'renew')).flatMap((notice) => {
      const renew = readRenewNotice(notice);
      return renew?.serial === serial ? [{ notice, renew }] : [];
    });
    for (const { notice, renew } of before) {
      const { start, end } = renew.suggestedWindow;
      const isSame = renew.planned === true && start === window.start && end === window.end;
      if (isSame && Math.abs(now - notice.createdAt) < REPEAT_MS) return undefined;
    }
    for (const { notice } of before) {
      if (isUnfinished(notice, now)) await tables.notices.update(notice.id, { state: 'expired' });
    }
    const body = { serial, suggestedWindow: window, reason: 'planned', rekey: false, planned: true } as const;
    const life = window.end - now;
    await queueNotice(tables, this.#deps, { deviceId, notice: { kind: 'renew', body }, now, life, actor: 'gateway' });
    return window;
  }
}

/** Of a device certificate in use that nothing has followed. */
async function windowOf(
  { certificates }: Pick<Tables, 'certificates'>,
  serial: SerialNumber,
): Promise<SuggestedWindow | undefined> {
  const certificate = await certificates.find(serial);
  if (certificate?.profile !== 'device' || certificate.state !== 'active' || certificate.supersedeAt !== null)
    return undefined;
  return suggestedWindow(certificate).window;
}

function isUnfinished({ state, expiresAt }: NoticeRecord, now: number): boolean {
  return expiresAt > now && UNFINISHED_NOTICE_STATES.some((unfinished) => unfinished === state);
}
