import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseCertificate } from '#ca/pkix/certificate.ts';
import { parseDeviceId } from '#gateway/contract/device-id.ts';
import { formatCertId, parseCertId, parseSuggestedWindow } from '#gateway/contract/renewal-info.ts';
import { issueOwnCertificate } from '#gateway/operations/issue-own-certificate.ts';
import { keepRenewalPlan, planUnplanned } from '#gateway/operations/keep-renewal-plan.ts';
import { planRenewals } from '#gateway/operations/plan-renewals.ts';
import { reenrollDevice } from '#gateway/operations/reenroll-device.ts';
import { RenewalPlanner } from '#gateway/operations/renewal-planner.ts';
import { revokeDevice } from '#gateway/operations/revoke-device.ts';
import { showRenewalInfo } from '#gateway/operations/show-renewal-info.ts';
import {
  ARRIVAL,
  connectDevice,
  csrOf,
  DAY,
  enroll,
  HOUR,
  newKey,
  openWorld,
  register,
  type World,
} from '#test/fixtures/gateway/operations-world.ts';

let world: World;
beforeEach(async () => {
  world = await openWorld();
});
afterEach(() => world.close());

async function enrolled(id: string) {
  const issued = await enroll(world, id, await register(world, id));
  await connectDevice(world, issued.der, id);
  return issued;
}

async function recordOf(serial: string) {
  const record = await world.store.read.certificates.find(serial);
  if (record === undefined) throw new Error('it is on record');
  return record;
}

async function nameOf(serial: string) {
  return { serial, issuerKeyId: (await recordOf(serial)).issuerKeyId };
}

async function fleet(count: number): Promise<string[]> {
  const serials: string[] = [];
  for (let device = 0; device < count; device += 1) serials.push((await enrolled(`press-${device}`)).serial);
  return serials;
}

/** The power goes in the middle of it. */
class PowerlessPlanner extends RenewalPlanner {
  override replan(): never {
    throw new Error('power');
  }
}

describe('the window of a certificate', () => {
  it('is chosen when it is issued, around half of its seven days, and told with it', async () => {
    const ticket = await register(world, 'press-07');
    const now = world.clock.now();
    const { serial } = await enroll(world, 'press-07', ticket);
    const { renewFrom, renewUntil } = await recordOf(serial);
    expect(renewFrom).toBeGreaterThan(now + 3.3 * DAY);
    expect(renewUntil).toBeLessThan(now + 3.7 * DAY);
    expect((renewUntil ?? 0) - (renewFrom ?? 0)).toBe(60_000);
  });

  it('is told with the certificate of a renewal, and gone from the one that is replaced', async () => {
    const first = await enrolled('press-07');
    world.clock.at += 1000;
    const renewed = await reenrollDevice(world, {
      attemptId: 'a-00000000000000aa',
      ...ARRIVAL,
      peer: first.der,
      csr: await csrOf(newKey(), { renews: first.der }),
    });
    expect(renewed.window?.start).toBeGreaterThan(world.clock.now());
    await connectDevice(world, renewed.certificate);
    expect(await recordOf(first.serial)).toMatchObject({ state: 'active', renewFrom: null, renewUntil: null });
    const plan = await planRenewals(world, { withinSeconds: 7 * 86_400 });
    expect(plan.forecast.reduce((sum, { renewals }) => sum + renewals, 0)).toBe(1);
  });

  it('is given to certificates of a version that planned none, once', async () => {
    const { serial } = await enrolled('press-07');
    await world.store.write((tables) =>
      tables.certificates.update(serial as never, { renewFrom: null, renewUntil: null }),
    );
    await planUnplanned(world);
    const { renewFrom } = await recordOf(serial);
    expect(renewFrom).toBeGreaterThan(world.clock.now());
    await planUnplanned(world);
    expect((await recordOf(serial)).renewFrom).toBe(renewFrom);
  });
});

describe('renewal information', () => {
  it('is the window, and asks to come back when it begins or after a day', async () => {
    const { serial } = await enrolled('press-07');
    const record = await recordOf(serial);
    const info = await showRenewalInfo(world, await nameOf(serial));
    expect(info.window).toEqual({ start: record.renewFrom, end: record.renewUntil });
    expect(info.retryAfter).toBe(86_400);
    world.clock.at = (record.renewFrom ?? 0) - 2 * HOUR;
    expect((await showRenewalInfo(world, await nameOf(serial))).retryAfter).toBe(7200);
    world.clock.at = (record.renewFrom ?? 0) - 1000;
    expect((await showRenewalInfo(world, await nameOf(serial))).retryAfter).toBe(60);
  });

  it('of a revoked or replaced certificate lies in the past: at once', async () => {
    const { serial } = await enrolled('press-07');
    await revokeDevice(world, {
      deviceId: parseDeviceId('press-07'),
      reason: 'keyCompromise',
      actor: 'test',
      requestedAt: 0,
      becomes: 'revoked',
    });
    const { window } = await showRenewalInfo(world, await nameOf(serial));
    expect(window.end).toBeLessThan(world.clock.now());
    expect(window.end).toBeGreaterThan(window.start);
  });

  it('is refused for a serial of another issuer and for one that was never given out', async () => {
    const { serial } = await enrolled('press-07');
    const other = { serial, issuerKeyId: '00'.repeat(20) };
    await expect(showRenewalInfo(world, other)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    const unknown = { ...(await nameOf(serial)), serial: '11'.repeat(16) };
    await expect(showRenewalInfo(world, unknown)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it('is refused for what is no certificate of a device, though it was issued here', async () => {
    const publicKey = newKey().publicKey;
    const der = await issueOwnCertificate(world, { profile: 'notice-signer', publicKey });
    const { serial } = parseCertificate(der);
    await expect(showRenewalInfo(world, await nameOf(serial))).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it('names certificates as RFC 9773 4.1 does, with the octet of zeros', () => {
    const name = { issuerKeyId: '69885b6b87464041e1b37b847ba0ae2cde01c8d4', serial: '0087654321' };
    expect(formatCertId(name)).toBe('aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE');
    expect(parseCertId('aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE')).toEqual(name);
  });

  it.each([
    'aYhba4dGQEHhs3uEe6CuLN4ByNQ',
    'aYhba4dGQEHhs3uEe6CuLN4ByNQ.',
    '.AIdlQyE',
    'aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE=',
    'aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyF',
    'aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdl+yE',
    'a.b.c',
    `${'A'.repeat(200)}.AIdlQyE`,
  ])('takes "%s" for no name of a certificate', (text) => {
    expect(parseCertId(text)).toBeUndefined();
  });

  it.each([
    ['2026-03-01T00:00:00Z/2026-03-01T01:00:00Z', true],
    ['2026-03-01T01:00:00Z/2026-03-01T01:00:00Z', false],
    ['2026-03-01T01:00:00Z/2026-03-01T00:00:00Z', false],
    ['yesterday/tomorrow', false],
    ['2026-03-01T00:00:00Z', false],
    [{ start: 5, end: 6 }, true],
    [{ start: 6, end: 6 }, false],
    [{ start: 'x', end: 6 }, false],
    [{ start: '2026-03-01T00:00:00.5+01:00', end: '2026-03-01T00:00:01+01:00' }, true],
    [undefined, false],
    [null, false],
  ])('reads %j as a window: %s', (value, isWindow) => {
    expect(parseSuggestedWindow(value) !== undefined).toBe(isWindow);
  });
});

describe('after an outage', () => {
  it('plans the windows that passed anew, in the future, and no others', async () => {
    const serials = await fleet(6);
    await keepRenewalPlan(world);
    const windows = new Map<string, number>();
    // Three are due within the outage, three after it.
    for (const [place, serial] of serials.entries()) {
      const renewFrom = world.clock.at + (place < 3 ? HOUR : 20 * HOUR);
      windows.set(serial, renewFrom);
      await world.store.write((tables) =>
        tables.certificates.update(serial as never, { renewFrom, renewUntil: renewFrom + 60_000 }),
      );
    }
    world.clock.at += 2 * HOUR;
    expect(await keepRenewalPlan(world)).toBe(3);
    for (const [place, serial] of serials.entries()) {
      const { renewFrom } = await recordOf(serial);
      if (place < 3) expect(renewFrom).toBeGreaterThan(world.clock.at);
      else expect(renewFrom).toBe(windows.get(serial));
    }
    const audit = await world.store.read.audit.list({ action: 'renewal.replanned', limit: 10 });
    expect(audit.map(({ detail }) => detail)).toEqual(['3 windows passed in 7200 s in which nobody could renew']);
    // Nobody is connected who would have to be told (see pushed-windows).
    expect(await world.store.read.notices.countUnfinished()).toBe(0);
  });

  it('counts the time in which the authority did not answer as an outage, although the gateway ran', async () => {
    const [serial = ''] = await fleet(1);
    await keepRenewalPlan(world);
    const renewFrom = world.clock.at + 10 * 60_000;
    await world.store.write((tables) =>
      tables.certificates.update(serial as never, { renewFrom, renewUntil: renewFrom + 60_000 }),
    );
    world.authority.failure = 'unreachable';
    for (let minute = 0; minute < 30; minute += 1) {
      world.clock.at += 60_000;
      expect(await keepRenewalPlan(world)).toBe(0);
    }
    world.authority.failure = 'none';
    expect(await keepRenewalPlan(world)).toBe(1);
    expect((await recordOf(serial)).renewFrom).toBeGreaterThan(world.clock.at);
  });

  it("plans nothing anew while all is well: a window that passed is the device's own affair", async () => {
    const [serial = ''] = await fleet(1);
    const { renewFrom } = await recordOf(serial);
    for (let hour = 0; hour < 96; hour += 1) {
      world.clock.at += HOUR;
      for (let minute = 0; minute < 60; minute += 30) {
        // As often as the gateway looks.
        await world.store.write((tables) => tables.settings.set('renewal.able-at', String(world.clock.at - 70_000)));
        expect(await keepRenewalPlan(world)).toBe(0);
      }
    }
    expect((await recordOf(serial)).renewFrom).toBe(renewFrom);
  });

  it('is found again by the next look when the first was cut off', async () => {
    const [serial = ''] = await fleet(1);
    await keepRenewalPlan(world);
    const renewFrom = world.clock.at + HOUR;
    await world.store.write((tables) =>
      tables.certificates.update(serial as never, { renewFrom, renewUntil: renewFrom + 60_000 }),
    );
    world.clock.at += 2 * HOUR;
    const cut = { ...world, renewals: new PowerlessPlanner(world) };
    await expect(keepRenewalPlan(cut)).rejects.toThrow('power');
    await world.restart();
    expect(await keepRenewalPlan(world)).toBe(1);
  });
});

describe('the forecast', () => {
  it('tells what is in use, what is due and how long all would take', async () => {
    await enrolled('press-07');
    await enrolled('press-08');
    const plan = await planRenewals(world, { withinSeconds: 7 * 86_400, group: 'default' });
    expect(plan).toMatchObject({ active: 2, due: 0, widthMs: 6 * HOUR, examined: 2, isComplete: true, atRisk: [] });
    expect(plan.forecast.reduce((sum, { renewals }) => sum + renewals, 0)).toBe(2);
    expect(plan.plannedPerSecond).toBeCloseTo(plan.issuesPerSecond / 2, 0);
    world.clock.at += 5 * DAY;
    expect((await planRenewals(world, { withinSeconds: 3600 })).due).toBe(2);
  });

  it('names devices that stay away longer than their certificate lives, and no others', async () => {
    const deviceId = parseDeviceId('press-07');
    const { serial } = await enrolled('press-07');
    const other = parseDeviceId('press-08');
    const { serial: otherSerial } = await enrolled('press-08');
    const start = world.clock.at;
    await world.store.write(async (tables) => {
      for (const [id, used, end] of [
        [deviceId, serial, start + HOUR],
        [other, otherSerial, start + 3.9 * DAY],
      ] as const) {
        await tables.sessions.open(id, { serial: used, address: '10.0.0.1', since: start });
        await tables.sessions.end(id, { serial: used, since: start }, end, 'gone');
      }
    });
    world.clock.at = start + 4 * DAY;
    const { atRisk } = await planRenewals(world, { withinSeconds: 7 * 86_400 });
    // Away for four of its seven days, and no pattern yet: as long again is beyond its end.
    expect(atRisk).toMatchObject([{ deviceId: 'press-07', lastSeen: start + HOUR, usualGapMs: null }]);
  });

  it('refuses a group that is not there', async () => {
    await expect(planRenewals(world, { withinSeconds: 60, group: 'x' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
});
