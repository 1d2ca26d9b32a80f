import type { SuggestedWindow } from '#gateway/contract/renewal-info.ts';
import type { CertificateRecord } from '#gateway/domain/certificate-record.ts';
import { chooseSlot, windowOf } from '#gateway/domain/renewal/choose-window.ts';
import { IssuingRate } from '#gateway/domain/renewal/issuing-rate.ts';
import { levelFor, RenewalCalendar, slotAt } from '#gateway/domain/renewal/renewal-calendar.ts';
import { lifeOf } from '#gateway/domain/renewal/renewal-rule.ts';
import { type Missed, replanMissed } from '#gateway/domain/renewal/replan-missed.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { Store } from '#gateway/ports/store.ts';

export type PlannerDeps = { store: Store; clock: Clock };

export type RenewalTimes = { renewFrom: number; renewUntil: number };

type Planned = Pick<CertificateRecord, 'serial' | 'notBefore' | 'notAfter' | 'issuedAt'>;

const RATE_SETTING = 'renewal.issues-per-second';
const DAY_MS = 24 * 3_600_000;
const MINUTE_MS = 60_000;
/** Day by day where the most lies, so that no single question holds up the event loop; a month at a time beyond. */
const DAYS_ONE_BY_ONE = 60;
const MONTH_MS = 30 * DAY_MS;
/** The longest life a group can ask for. */
const HORIZON_MS = 3650 * DAY_MS;

/**
 * Chooses when each certificate is to be renewed. It keeps the calendar of all planned renewals in memory and measures
 * how fast this gateway issues. With several workers each counts its own at once and the others' at the next `load`.
 */
export class RenewalPlanner {
  readonly #deps: PlannerDeps;
  #calendar = new RenewalCalendar();
  #rate = new IssuingRate();
  #keptRate = 0;

  constructor(deps: PlannerDeps) {
    this.#deps = deps;
  }

  /** Certificates a second that this gateway can issue. */
  get perSecond(): number {
    return this.#rate.perSecond;
  }

  get isRateMeasured(): boolean {
    return this.#rate.isMeasured;
  }

  /** What was measured and planned so far. Again it is a fresh count: what was revoked or planned elsewhere shows. */
  async load(): Promise<void> {
    const { store, clock } = this.#deps;
    if (this.#keptRate === 0) {
      const kept = Number(await store.read.settings.get(RATE_SETTING));
      this.#rate = new IssuingRate(kept);
      this.#keptRate = this.#rate.perSecond;
    }
    const calendar = new RenewalCalendar();
    const now = clock.now();
    const end = now + HORIZON_MS;
    for (let from = now - (now % MINUTE_MS); from < end; ) {
      const until = from + (from < now + DAYS_ONE_BY_ONE * DAY_MS ? DAY_MS : MONTH_MS);
      const counts = await store.read.certificates.countRenewalsByMinute(from / MINUTE_MS, until / MINUTE_MS);
      for (const [minute, count] of counts) calendar.add(slotAt(levelFor(DAY_MS), minute * MINUTE_MS), count);
      from = until;
    }
    this.#calendar = calendar;
  }

  /** Writes the measured rate down when it has changed by a tenth. */
  async keepRate(): Promise<void> {
    const { perSecond } = this.#rate;
    if (Math.abs(perSecond - this.#keptRate) < this.#keptRate / 10) return;
    await this.#deps.store.write((tables) =>
      tables.settings.set(RATE_SETTING, String(Math.round(perSecond * 10) / 10)),
    );
    this.#keptRate = perSecond;
  }

  /** One issue, timed. */
  async measure<T>(issue: () => Promise<T>): Promise<T> {
    const { clock } = this.#deps;
    this.#rate.begin(clock.monotonic());
    let issued = false;
    try {
      const result = await issue();
      issued = true;
      return result;
    } finally {
      this.#rate.end(clock.monotonic(), issued);
    }
  }

  /** Chooses the window of a new certificate and counts it. */
  plan(certificate: Planned): RenewalTimes {
    const { serial } = certificate;
    const slot = chooseSlot(this.#calendar, { serial, life: lifeOf(certificate), rate: this.perSecond });
    this.#calendar.add(slot);
    return timesOf(windowOf(slot));
  }

  /** New windows for those that passed while nobody could renew; see replanMissed. */
  replan(missed: readonly Missed[], order: { now: number; outageMs: number }): (RenewalTimes & { serial: string })[] {
    const planned = replanMissed(this.#calendar, missed, { ...order, rate: this.perSecond });
    return planned.map(({ serial, slot }) => ({ serial, ...timesOf(windowOf(slot)) }));
  }

  /** It has a successor, or is no longer: its place in the calendar is free. */
  release(certificate: Planned & Pick<CertificateRecord, 'renewFrom'>): void {
    if (certificate.renewFrom === null) return;
    const { from, until } = lifeOf(certificate);
    this.#calendar.add(slotAt(levelFor(until - from), certificate.renewFrom), -1);
  }
}

/** As it is told to the device with its certificate. */
export function suggestedWindow({ renewFrom, renewUntil }: RenewalTimes | CertificateRecord): {
  window?: SuggestedWindow;
} {
  return renewFrom === null || renewUntil === null ? {} : { window: { start: renewFrom, end: renewUntil } };
}

function timesOf({ start, end }: { start: number; end: number }): RenewalTimes {
  return { renewFrom: start, renewUntil: end };
}
