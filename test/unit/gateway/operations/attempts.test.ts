import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseDeviceId } from '#gateway/contract/device-id.ts';
import { ATTEMPT_LIFE_MS } from '#gateway/domain/attempt.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import { NOTICE_HISTORY_MS } from '#gateway/domain/notice-record.ts';
import { enrollDevice } from '#gateway/operations/enroll-device.ts';
import { queueNotice } from '#gateway/operations/queue-notice.ts';
import { recordDoorRefusal } from '#gateway/operations/record-door-refusal.ts';
import { listAttempts, pruneHistory, showAttempt } from '#gateway/operations/show-attempts.ts';
import { sweep } from '#gateway/operations/sweep.ts';
import {
  ARRIVAL,
  changePolicy,
  csrOf,
  type DeviceKey,
  newKey,
  openWorld,
  register,
  type World,
} from '#test/fixtures/gateway/operations-world.ts';

let world: World;
let ticket: string;
beforeEach(async () => {
  world = await openWorld();
  ticket = await register(world, 'press-07');
});
afterEach(() => world.close());

async function attempt(id: string, key: DeviceKey = newKey(), change: { ticket?: string; address?: string } = {}) {
  const credentials = { by: 'ticket', deviceId: 'press-07', ticket: change.ticket ?? ticket } as const;
  const address = change.address ?? '127.0.0.1';
  const request = { ...ARRIVAL, attemptId: `a-${id.padStart(16, '0')}`, address, credentials, csr: await csrOf(key) };
  return enrollDevice(world, request);
}

const A1 = 'a-0000000000000001';

describe('an attempt', () => {
  it('that succeeds is on record with its steps in order', async () => {
    await attempt('1');
    const shown = await showAttempt(world, A1);
    expect(shown).toMatchObject({
      id: A1,
      kind: 'enroll',
      door: 'est',
      address: '127.0.0.1',
      deviceId: 'press-07',
      outcome: 'issued',
      code: null,
      nextAction: null,
    });
    expect(shown.steps.map(({ step, outcome }) => `${step} ${outcome}`)).toEqual([
      'credentials ok',
      'csr ok',
      'proof ok',
      'policy ok',
      'key ok',
      'certificate ok',
    ]);
    const after = shown.steps.map((step) => step.after);
    expect(after).toEqual(after.toSorted((a, b) => a - b));
    expect(shown.milliseconds).toBeGreaterThanOrEqual(after.at(-1) ?? 0);
  });

  it('that is refused names the step, the reason and what to do', async () => {
    await changePolicy(world, { keys: ['ed25519'] });
    await expect(attempt('1')).rejects.toMatchObject({ code: 'KEY_NOT_ALLOWED' });
    const shown = await showAttempt(world, A1);
    expect(shown).toMatchObject({ outcome: 'refused', code: 'KEY_NOT_ALLOWED', deviceId: 'press-07' });
    expect(shown.detail).toContain('ed25519');
    expect(shown.nextAction).toContain('kind that the group allows');
    expect(shown.steps.at(-1)).toMatchObject({ step: 'csr', outcome: 'refused', detail: shown.detail });
  });

  it('that waits is pending, not refused, and counts for no failure', async () => {
    await changePolicy(world, { approval: 'manual' });
    await expect(attempt('1')).rejects.toMatchObject({ code: 'APPROVAL_PENDING' });
    const shown = await showAttempt(world, A1);
    expect(shown).toMatchObject({ outcome: 'pending', code: 'APPROVAL_PENDING' });
    expect(shown.steps.at(-1)).toMatchObject({ step: 'approval', outcome: 'waiting' });
    expect(await world.store.read.audit.list({ action: 'enrollment.refused', limit: 9 })).toEqual([]);
    expect(world.log.lines.filter(({ level }) => level === 'warn')).toEqual([]);
  });

  it('that fails on our side is told apart', async () => {
    world.authority.failure = 'unreachable';
    await expect(attempt('1')).rejects.toMatchObject({ code: 'AUTHORITY_UNAVAILABLE' });
    expect(await showAttempt(world, A1)).toMatchObject({ outcome: 'failed', code: 'AUTHORITY_UNAVAILABLE' });
  });

  it('of a stranger is on record a few times, and does not fill the disk', async () => {
    for (let i = 1; i <= 6; i += 1) {
      const guess = attempt(String(i), newKey(), { ticket: `guess-${i}`, address: '192.0.2.7' });
      await expect(guess).rejects.toMatchObject({ code: 'TICKET_UNKNOWN' });
    }
    const { items } = await listAttempts(world, { limit: 50 });
    expect(items.filter(({ address }) => address === '192.0.2.7').length).toBeLessThanOrEqual(6);
    expect(JSON.stringify(items)).not.toContain('guess-');
  });

  it('of each device of a fleet behind one address is on record, whatever the others do', async () => {
    await changePolicy(world, { approval: 'manual' });
    const key = newKey();
    for (let polled = 0; polled < 80; polled += 1)
      await expect(attempt(String(polled), key)).rejects.toMatchObject({ code: 'APPROVAL_PENDING' });
    await changePolicy(world, { approval: 'registered', keys: ['ed25519'] });
    // The one that has polled for long is told in the end, too.
    await expect(attempt('ffff')).rejects.toMatchObject({ code: 'KEY_NOT_ALLOWED' });
    expect(await showAttempt(world, 'a-000000000000ffff')).toMatchObject({ outcome: 'refused' });
    for (let index = 1; index <= 80; index += 1) {
      const deviceId = `pump-${index}`;
      const credentials = { by: 'ticket', deviceId, ticket: await register(world, deviceId) } as const;
      const request = { ...ARRIVAL, attemptId: `a-${String(index).padStart(16, 'b')}`, credentials };
      const asked = enrollDevice(world, { ...request, csr: await csrOf(newKey()) });
      await expect(asked).rejects.toMatchObject({ code: 'KEY_NOT_ALLOWED' });
      expect(await showAttempt(world, request.attemptId)).toMatchObject({ deviceId });
    }
    expect(await world.store.read.audit.list({ action: 'enrollment.refused', limit: 100 })).toHaveLength(81);
  });

  it('of one device that asks in a loop is on record a few times', async () => {
    await changePolicy(world, { keys: ['ed25519'] });
    for (let asked = 1; asked <= 30; asked += 1) await expect(attempt(String(asked))).rejects.toThrow();
    expect((await listAttempts(world, { limit: 50 })).items).toHaveLength(10);
    expect(await world.store.read.audit.list({ action: 'enrollment.refused', limit: 50 })).toHaveLength(10);
  });

  it('asked again under its own name is the newer one; nobody takes the name of another device', async () => {
    const key = newKey();
    await attempt('1', key);
    await attempt('1', key);
    expect(await showAttempt(world, A1)).toMatchObject({ outcome: 'given-again' });
    const other = await register(world, 'press-08');
    await enrollDevice(world, {
      ...ARRIVAL,
      attemptId: A1,
      credentials: { by: 'ticket', deviceId: 'press-08', ticket: other },
      csr: await csrOf(newKey()),
    });
    expect(await showAttempt(world, A1)).toMatchObject({ deviceId: 'press-07' });
    expect((await listAttempts(world, { limit: 9 })).items.map(({ deviceId }) => deviceId ?? '').toSorted()).toEqual([
      'press-07',
      'press-08',
    ]);
  });

  it('never holds the ticket, and is not there for an unknown id', async () => {
    await attempt('1');
    expect(JSON.stringify(await showAttempt(world, A1))).not.toContain(ticket);
    await expect(showAttempt(world, 'a-none')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it('goes after 30 days', async () => {
    await attempt('1');
    world.clock.at += ATTEMPT_LIFE_MS + 1000;
    await showAttempt(world, A1);
    await pruneHistory(world);
    await expect(showAttempt(world, A1)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
});

it('notices that have ended go a week after their end, and those of a device whose clock stays wrong with them', async () => {
  await register(world, 'press-09');
  const deviceId = parseDeviceId('press-09');
  const notice = { kind: 'time', body: { time: 1 } } as const;
  for (let i = 0; i < 3; i += 1) {
    const order = { deviceId, notice, now: world.clock.at, life: 60_000, actor: 'gateway' };
    await world.store.write((tables) => queueNotice(tables, world, order));
    world.clock.at += NOTICE_HISTORY_MS / 2;
    await sweep(world);
    await pruneHistory(world);
  }
  expect(await world.store.read.notices.listByDevice(deviceId, 9)).toHaveLength(2);
});

describe('what is kept of strangers', () => {
  it('is not used up by what a busy gateway turns away', async () => {
    const asked = { address: '192.0.2.7', door: 'est', kind: 'enroll', milliseconds: 1, shown: undefined } as const;
    const refuse = (attemptId: string, code: 'OVERLOADED' | 'BODY_NOT_BASE64') =>
      recordDoorRefusal(world, { ...asked, attemptId, error: new GatewayError(code, 'no') });
    for (let i = 0; i < 50; i += 1) refuse(`a-${String(i).padStart(16, 'c')}`, 'OVERLOADED');
    const now = world.clock.monotonic();
    expect([world.saturation.isAt(now), world.saturation.isAt(now + 2000)]).toEqual([true, false]);
    expect(refuse(A1, 'BODY_NOT_BASE64')).toBe(true);
    expect(await showAttempt(world, A1)).toMatchObject({ outcome: 'refused', code: 'BODY_NOT_BASE64', deviceId: null });
    expect((await listAttempts(world, { limit: 50 })).items).toHaveLength(3);
  });
});
