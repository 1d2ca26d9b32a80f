import type { SerialNumber } from '#ca/pkix/serial-number.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { AuditBudget } from '#gateway/domain/audit-budget.ts';
import { auditEntry } from '#gateway/domain/audit-entry.ts';
import type { RefusalSubject } from '#gateway/domain/gateway-error.ts';
import { networkOf } from '#gateway/domain/network-of.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { Log } from '#gateway/ports/log.ts';
import type { Metrics } from '#gateway/ports/metrics.ts';
import type { BackgroundWrites } from './background-writes.ts';

export type SessionRecordDeps = {
  background: Pick<BackgroundWrites, 'add'>;
  clock: Clock;
  log: Log;
  metrics: Metrics;
  refusals: AuditBudget;
  /** Opened and closed sessions that are audited, per device: one that connects in a loop is seen after a few. */
  sessionRows: AuditBudget;
};

export type OpenedSession = {
  deviceId: DeviceId;
  serial: SerialNumber;
  address: string;
  since: number;
  /** The living session whose place it took. */
  displaced?: { address: string; since: number };
};

/** Written behind the session's back: a slow disk must not hold up CONNACK, and the record is not what admits it. */
export function recordSessionOpened(deps: SessionRecordDeps, session: OpenedSession): void {
  const { deviceId, serial, address, since } = session;
  deps.metrics.session('admitted');
  deps.log.info('session opened', { deviceId, serial, address });
  const isAudited = deps.sessionRows.take(deviceId, since);
  deps.background.add(async (tables) => {
    await tables.sessions.open(deviceId, { serial, address, since });
    if (!isAudited) return;
    await tables.audit.append(
      auditEntry({
        at: since,
        actor: `device:${deviceId}`,
        action: 'session.opened',
        subject: deviceId,
        detail: `serial ${serial} from ${address}`,
      }),
    );
  });
}

export function recordSessionClosed(
  deps: SessionRecordDeps,
  session: Pick<OpenedSession, 'deviceId' | 'serial' | 'since'>,
  reason: string,
): void {
  const { deviceId, serial, since } = session;
  const now = deps.clock.now();
  deps.metrics.sessionEnded(reason);
  deps.log.info('session closed', { deviceId, serial, reason, seconds: Math.round((now - since) / 1000) });
  const isAudited = deps.sessionRows.take(deviceId, now);
  deps.background.add(async (tables) => {
    await tables.sessions.end(deviceId, { serial, since }, now, reason);
    if (!isAudited) return;
    await tables.audit.append(
      auditEntry({ at: now, actor: `device:${deviceId}`, action: 'session.closed', subject: deviceId, detail: reason }),
    );
  });
}

export type SessionRefusal = RefusalSubject & { address: string; code: string; detail: string };

/**
 * Every refusal is counted; those of somebody we know are logged and, as many per network as the budget allows, audited,
 * those of strangers are logged so many of a network and kind: a stranger must not be able to fill the disk.
 */
export function recordSessionRefused(deps: SessionRecordDeps, refusal: SessionRefusal): void {
  const { deviceId, serial, address, code, detail } = refusal;
  deps.metrics.session(code);
  const at = deps.clock.now();
  const network = networkOf(address);
  const isTold = deviceId !== undefined || deps.refusals.take(`${network} ${code}`, at);
  deps.log[isTold ? 'warn' : 'debug']('session refused', { address, code, detail, deviceId, serial });
  if (deviceId === undefined || !deps.refusals.take(network, at)) return;
  deps.background.add(async (tables) => {
    await tables.audit.append(
      auditEntry({
        at,
        actor: `address:${address}`,
        action: 'session.refused',
        subject: deviceId,
        outcome: 'refused',
        code,
        detail,
      }),
    );
  });
}
