import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { DeviceAtRisk, RenewalPlan } from '#gateway/contract/renewal-api.ts';
import type { CertificateRecord } from '#gateway/domain/certificate-record.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import { PLANNED_SHARE } from '#gateway/domain/renewal/choose-window.ts';
import { forecastReturn, type Presence } from '#gateway/domain/renewal/offline-pattern.ts';
import type { Broker } from '#gateway/ports/broker.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { Store } from '#gateway/ports/store.ts';
import type { RenewalPlanner } from './renewal-planner.ts';

export type PlanRenewalsDeps = {
  store: Pick<Store, 'read'>;
  clock: Clock;
  broker: Broker;
  renewals: Pick<RenewalPlanner, 'perSecond' | 'isRateMeasured'>;
};

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
/** Beyond every life a group can give. */
const HORIZON = 3650 * DAY;
/** Bars that fit a terminal. */
const MOST_BARS = 48;
const WIDTHS = [1000, 10_000, MINUTE, 10 * MINUTE, HOUR, 6 * HOUR, DAY, 7 * DAY, 30 * DAY, 365 * DAY];
const PAGE = 500;
/** For each that is offline some rows are read: an operator waits for this. */
const MOST_EXAMINED = 20_000;
/** Sessions that its pattern is read from. */
const SESSIONS_READ = 20;

/**
 * What lies ahead: windows in each hour or day, the devices that will probably be offline when their certificate ends,
 * and how long it would take to replace all.
 * @throws GatewayError NOT_FOUND
 */
export async function planRenewals(
  deps: PlanRenewalsDeps,
  query: { group?: string; withinSeconds: number },
): Promise<RenewalPlan> {
  const {
    store: { read },
    clock,
    renewals,
  } = deps;
  const { group } = query;
  if (group !== undefined && (await read.groups.find(group)) === undefined)
    throw new GatewayError('NOT_FOUND', `there is no group "${group}"`);
  const at = clock.now();
  const within = query.withinSeconds * 1000;
  const widthMs = WIDTHS.find((width) => within / width <= MOST_BARS) ?? within;
  const bars = Math.ceil(within / widthMs);
  const active = await read.certificates.countRenewals(0, at + HORIZON, group);
  const due = await read.certificates.countRenewals(0, at, group);
  const forecast: RenewalPlan['forecast'] = [];
  // One by one, each out of the index: the doors get their turn between them.
  for (let from = at; forecast.length < bars; from += widthMs)
    forecast.push({ from, renewals: await read.certificates.countRenewals(from, from + widthMs, group) });
  const plannedPerSecond = PLANNED_SHARE * renewals.perSecond;
  return {
    group: group ?? null,
    at,
    active,
    due,
    issuesPerSecond: round(renewals.perSecond),
    isRateMeasured: renewals.isRateMeasured,
    plannedPerSecond: round(plannedPerSecond),
    secondsToReplaceAll: Math.ceil(active / plannedPerSecond),
    widthMs,
    forecast,
    ...(await findAtRisk(deps, { group, at, until: at + within })),
  };
}

async function findAtRisk(
  deps: PlanRenewalsDeps,
  { group, at, until }: { group: string | undefined; at: number; until: number },
): Promise<Pick<RenewalPlan, 'atRisk' | 'examined' | 'isComplete'>> {
  const { read } = deps.store;
  const atRisk: DeviceAtRisk[] = [];
  let examined = 0;
  for (let from = 0, after: string | undefined; ; ) {
    const page = await read.certificates.listByRenewal(from, until, PAGE, after);
    for (const certificate of page) {
      const found = await judge(deps, certificate, group, at);
      if (found !== undefined) atRisk.push(found);
    }
    examined += page.length;
    const last = page.at(-1);
    const isComplete = page.length < PAGE;
    if (isComplete || last?.renewFrom == null || examined >= MOST_EXAMINED)
      return { atRisk: atRisk.toSorted((a, b) => a.notAfter - b.notAfter), examined, isComplete };
    from = last.renewFrom;
    after = last.serial;
  }
}

async function judge(
  { store: { read }, broker }: PlanRenewalsDeps,
  { deviceId, serial, notAfter, supersedeAt }: CertificateRecord,
  group: string | undefined,
  at: number,
): Promise<DeviceAtRisk | undefined> {
  if (deviceId === null || supersedeAt !== null || broker.sessionsOf(deviceId).length > 0) return undefined;
  if (group !== undefined && (await read.devices.find(deviceId))?.group !== group) return undefined;
  const forecast = forecastReturn(await presencesOf(read, deviceId), at);
  return forecast === undefined || forecast.expectedBack <= notAfter
    ? undefined
    : { deviceId, serial, notAfter, ...forecast };
}

/** From the audit, which is sampled for devices that connect in a loop, and the record of the last session. */
async function presencesOf(read: Store['read'], deviceId: DeviceId): Promise<Presence[]> {
  const last = (await read.sessions.find(deviceId))?.last;
  if (last == null) return [];
  const events = await read.audit.list({ subject: deviceId, limit: 4 * SESSIONS_READ });
  const presences: Presence[] = [];
  let since: number | undefined;
  for (const { action, at } of events.toReversed()) {
    if (action === 'session.opened') since ??= at;
    else if (action === 'session.closed' && since !== undefined) {
      presences.push({ since, until: at });
      since = undefined;
    }
  }
  return [...presences.filter(({ since: began }) => began < last.since), { since: last.since, until: last.endedAt }];
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
