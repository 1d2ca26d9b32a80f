import { afterEach, beforeEach, expect, it } from 'vitest';
import { AuditBudget } from '#gateway/domain/audit-budget.ts';
import { recordSessionRefused } from '#gateway/operations/session-records.ts';
import { openWorld, type World } from '#test/fixtures/gateway/operations-world.ts';

let world: World;
beforeEach(async () => {
  world = await openWorld();
  world.refusals = new AuditBudget({ burst: 3, perSecond: 0, maxKeys: 100 });
});
afterEach(() => world.close());

const refuse = (code: string, more: { address?: string; deviceId?: string } = {}) =>
  recordSessionRefused(
    { ...world, sessionRows: world.refusals },
    { address: '192.0.2.7', code, detail: 'this was wrong', ...more },
  );
const warned = () => world.log.lines.filter(({ level }) => level === 'warn').map(({ facts }) => facts['code']);

it('a stranger who is refused in a loop does not fill the log, nor hide what else is refused there or elsewhere', () => {
  for (let asked = 0; asked < 50; asked += 1) refuse('TLS_NOT_TLS');
  expect(warned()).toEqual(Array(3).fill('TLS_NOT_TLS'));
  refuse('TLS_CERTIFICATE_EXPIRED');
  refuse('TLS_NOT_TLS', { address: '198.51.100.1' });
  for (let asked = 0; asked < 5; asked += 1) refuse('CERTIFICATE_REVOKED', { deviceId: 'press-07' });
  expect(warned().slice(3)).toEqual([
    'TLS_CERTIFICATE_EXPIRED',
    'TLS_NOT_TLS',
    ...Array(5).fill('CERTIFICATE_REVOKED'),
  ]);
});
