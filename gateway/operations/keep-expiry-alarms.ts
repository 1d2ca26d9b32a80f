import { auditEntry } from '#gateway/domain/audit-entry.ts';
import type { Log } from '#gateway/ports/log.ts';
import type { Store } from '#gateway/ports/store.ts';
import { checkExpiry, type ExpiryDeps } from './check-expiry.ts';

export type ExpiryAlarmDeps = ExpiryDeps & { store: Store; log: Log };

const OPEN_SETTING = 'alarms.expiry';

/**
 * Raises an alarm once about each thing that ends soon, in audit and log, and closes it when there is a new one. What is
 * open outlives a restart. For one process at a time.
 */
export async function keepExpiryAlarms(deps: ExpiryAlarmDeps): Promise<void> {
  const { store, log, clock } = deps;
  const checks = await checkExpiry(deps);
  const before = parseOpen(await store.read.settings.get(OPEN_SETTING));
  const wrong = checks.filter(({ ok }) => !ok);
  const raised = wrong.filter(({ name }) => !before.includes(name));
  const closed = before.filter((name) => !wrong.some((check) => check.name === name));
  if (raised.length === 0 && closed.length === 0) return;
  const now = clock.now();
  await store.write(async (tables) => {
    for (const { name, detail, advice } of raised) {
      const said = `${detail}; next: ${advice ?? ''}`;
      await tables.audit.append(
        auditEntry({ at: now, actor: 'gateway', action: 'alarm.raised', subject: name, detail: said }),
      );
    }
    for (const name of closed) {
      const detail = checks.find((check) => check.name === name)?.detail ?? 'it is not in use any more';
      await tables.audit.append(
        auditEntry({ at: now, actor: 'gateway', action: 'alarm.resolved', subject: name, detail }),
      );
    }
    await tables.settings.set(OPEN_SETTING, JSON.stringify(wrong.map(({ name }) => name)));
  });
  for (const { name, detail, advice } of raised) log.error('ends soon', { what: name, detail, next: advice });
  for (const name of closed) log.info('does not end soon any more', { what: name });
}

function parseOpen(text: string | undefined): string[] {
  return text === undefined ? [] : (JSON.parse(text) as string[]);
}
