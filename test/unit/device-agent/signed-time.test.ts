import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { formatCompactJws } from '#ca/pkix/compact-jws.ts';
import { readSignedTime } from '#device-agent/domain/read-signed-time.ts';
import { parseTimeFloor } from '#device-agent/domain/time-floor.ts';
import { askTime, openDirectory } from '#device-agent/operations/ask-time.ts';
import { TimeKeeper } from '#device-agent/operations/time-keeper.ts';
import { NOTICE_JWS_TYPE } from '#gateway/contract/notice.ts';
import { TIME_JWS_TYPE, TIME_NONCE_HEADER } from '#gateway/contract/signed-time.ts';
import { memoryAgent } from '#test/fixtures/device-agent/memory-agent.ts';
import { TestAuthority } from '#test/fixtures/device-agent/test-authority.ts';

type Signer = Awaited<ReturnType<TestAuthority['issueNoticeSigner']>>;

const DAY_MS = 24 * 3600_000;
/** What a test may take between two looks at the clock. */
const MINUTE_MS = 60_000;
const YEAR_MS = 365 * DAY_MS;
const NONCE = 'abcdefghijklmnopqrstuv';
let authority: TestAuthority;
let stranger: TestAuthority;
let signer: Signer;
beforeAll(async () => {
  [authority, stranger] = await Promise.all([TestAuthority.create(), TestAuthority.create()]);
  signer = await authority.issueNoticeSigner();
});

function sign(payload: object, { by = signer, type = TIME_JWS_TYPE, of = authority } = {}): string {
  const certificates = [by.der, of.intermediateDer];
  return formatCompactJws({ payload, type, certificates, privateKey: by.key });
}

const read = (text: string) => readSignedTime(text, { anchors: [authority.rootDer], nonce: NONCE });
const target = (address: { host: string; port: number }) => ({ address, anchors: [authority.rootDer] });
const floorOf = async ({ store }: ReturnType<typeof memoryAgent>) =>
  parseTimeFloor(await store.readRecord('time-floor')).floor;

/** A device whose wall clock is off by this much and whose uptime is moved by hand. */
function deviceWith({ aheadMs = 0 } = {}) {
  const hands = { aheadMs, uptime: 0, slept: 0 };
  const clock = {
    now: () => Date.now() + hands.aheadMs + hands.uptime + hands.slept,
    monotonic: () => hands.uptime,
    wait: async () => {},
  };
  return { hands, deps: memoryAgent({ clock }) };
}

describe('signed time', () => {
  const time = Date.now();

  test('is read without a clock', () => {
    expect(read(sign({ version: 1, nonce: NONCE, time }))).toMatchObject({ time });
  });

  test.each([
    ['for another nonce', () => sign({ version: 1, nonce: `${NONCE}x`, time })],
    ['of a version that is not known', () => sign({ version: 2, nonce: NONCE, time })],
    ['that is a notice', () => sign({ version: 1, nonce: NONCE, time }, { type: NOTICE_JWS_TYPE })],
    [
      'of a year in which its signer had no certificate',
      () => sign({ version: 1, nonce: NONCE, time: time + 30 * YEAR_MS }),
    ],
    ['with a signature that is wrong', () => `${sign({ version: 1, nonce: NONCE, time }).slice(0, -8)}AAAAAAAA`],
    ['that is no JWS', () => 'Sun, 06 Nov 2044 08:49:37 GMT'],
  ])('is refused: %s', (_, make) => {
    expect(() => read(make())).toThrow(expect.objectContaining({ code: 'TIME_REFUSED' }));
  });

  test('is refused of a signer of another authority', async () => {
    const text = sign({ version: 1, nonce: NONCE, time }, { by: await stranger.issueNoticeSigner(), of: stranger });
    expect(() => read(text)).toThrow(expect.objectContaining({ code: 'TIME_REFUSED' }));
  });
});

describe('the clock of the agent', () => {
  test.each([
    ['from 2050', 24 * YEAR_MS],
    ['from 1970', -56 * YEAR_MS],
    ['from two hours ahead', 2 * 3600_000],
  ])('is moved %s by signed time, and runs with the uptime from then on', async (_, aheadMs) => {
    const { hands, deps } = deviceWith({ aheadMs });
    const time = await TimeKeeper.open(deps);
    const now = Date.now();
    expect(await time.set(now, now + DAY_MS)).toBe(true);
    expect(Math.abs(time.now() - now)).toBeLessThan(MINUTE_MS);
    hands.uptime += DAY_MS;
    expect(Math.abs(time.now() - now - DAY_MS)).toBeLessThan(MINUTE_MS);
    expect(time.trust([]).floor).toBeDefined();
  });

  test('is not moved by whoever sets the wall clock after that', async () => {
    const { hands, deps } = deviceWith();
    const time = await TimeKeeper.open(deps);
    const now = Date.now();
    await time.set(now, now + DAY_MS);
    expect(time.trust([]).floor).toBeUndefined();
    hands.aheadMs = 20 * YEAR_MS;
    expect(Math.abs(time.now() - now)).toBeLessThan(MINUTE_MS);
    expect(time.isInDoubt()).toBe(true);
    expect(time.trustedNow()).toBeUndefined();
    hands.aheadMs = 0;
    expect(Math.abs(time.now() - now)).toBeLessThan(MINUTE_MS);
  });

  test('is the wall clock again when the gateway has said that a sleep explains the jump', async () => {
    const { hands, deps } = deviceWith();
    const time = await TimeKeeper.open(deps);
    await time.set(Date.now(), Date.now() + 10 * DAY_MS);
    hands.slept = 3 * DAY_MS;
    expect(time.isInDoubt()).toBe(true);
    const now = Date.now() + 3 * DAY_MS;
    await time.set(now, now + DAY_MS);
    expect(time.isInDoubt()).toBe(false);
    expect(Math.abs(time.now() - now)).toBeLessThan(MINUTE_MS);
    expect(time.isClockBelievable()).toBe(true);
  });

  test('supposes that it is later until it is told, and keeps nothing of it', async () => {
    const { hands, deps } = deviceWith({ aheadMs: -20 * DAY_MS });
    const time = await TimeKeeper.open(deps);
    const supposed = Date.now() - DAY_MS;
    time.suppose(supposed);
    expect(time.now()).toBeGreaterThanOrEqual(supposed);
    expect([time.isClockBelievable(), time.trustedNow()]).toEqual([false, undefined]);
    // Only a bound from below: a gateway whose certificate ends before is not refused for it.
    expect(time.trust([]).floor).toBe(await floorOf(deps));
    expect(await floorOf(deps)).toBeLessThan(supposed);
    hands.aheadMs = 0;
    expect(time.isClockBelievable()).toBe(true);
    expect(Math.abs(time.now() - Date.now())).toBeLessThan(1000);
    hands.aheadMs = -20 * DAY_MS;
    await time.set(Date.now() - 2 * DAY_MS, Date.now());
    expect(time.now()).toBeLessThan(supposed);
  });

  test('forgets what it has supposed when that turns out to be wrong', async () => {
    const { deps } = deviceWith();
    const time = await TimeKeeper.open(deps);
    time.suppose(Date.now() + 300 * DAY_MS);
    expect(time.isClockBelievable()).toBe(false);
    time.forgetSupposed();
    expect(time.isClockBelievable()).toBe(true);
    expect(Math.abs(time.now() - Date.now())).toBeLessThan(1000);
  });

  test('never goes below the floor, whatever is signed', async () => {
    const { deps } = deviceWith();
    const time = await TimeKeeper.open(deps);
    const now = Date.now();
    await time.learn(now, now + DAY_MS);
    expect(await time.set(now - DAY_MS, now + DAY_MS)).toBe(false);
    expect(await time.set(now + 2 * DAY_MS, now + DAY_MS)).toBe(false);
    expect(time.now()).toBeGreaterThanOrEqual(now - 1000);
  });
});

describe('asking the gateway', () => {
  let server: Server | undefined;
  afterEach(() => void server?.close());

  /** Says what the test wants, with a Date header of its own. */
  async function gatewaySaying(directory: (nonce: string) => object): Promise<{ host: string; port: number }> {
    const tls = await authority.issueServer();
    server = createServer({ key: tls.keyPem, cert: tls.certificatePem }, (request, response) => {
      const nonce = String(request.headers[TIME_NONCE_HEADER.toLowerCase()]);
      response.setHeader('Date', 'Sun, 06 Nov 2044 08:49:37 GMT');
      const told = { version: 1, trustDomain: 'test.example', mqtt: { port: 8883 }, time: Date.now() };
      const body = { ...told, ...directory(nonce) };
      response.end(JSON.stringify(body));
    });
    await new Promise<void>((resolve) => server?.listen(0, '127.0.0.1', resolve));
    return { host: '127.0.0.1', port: (server.address() as AddressInfo).port };
  }

  test('brings a device of 2050 back, although by its clock the gateway has expired', async () => {
    const address = await gatewaySaying((nonce) => ({ signedTime: sign({ version: 1, nonce, time: Date.now() }) }));
    const { deps } = deviceWith({ aheadMs: 24 * YEAR_MS });
    const time = await TimeKeeper.open(deps);
    const { session } = await openDirectory({ ...deps, time }, target(address));
    session.close();
    expect(Math.abs(time.now() - Date.now())).toBeLessThan(MINUTE_MS);
  });

  test.each([
    ['says the time and signs nothing', () => ({ time: Date.now() })],
    ['plays an older statement again', () => ({ signedTime: sign({ version: 1, nonce: NONCE, time: Date.now() }) })],
  ])('moves nothing by a session whose dates are not judged, when the gateway %s', async (_, directory) => {
    const address = await gatewaySaying(directory);
    const { deps } = deviceWith({ aheadMs: 24 * YEAR_MS });
    const time = await TimeKeeper.open(deps);
    expect(await askTime({ ...deps, time }, target(address))).toBe(false);
    expect(time.now()).toBeGreaterThan(Date.now() + 23 * YEAR_MS);
    expect(await floorOf(deps)).toBeLessThan(Date.now());
  });

  test('moves nothing by whoever is not the gateway, nor by a Date header', async () => {
    const address = await gatewaySaying((nonce) => ({ signedTime: sign({ version: 1, nonce, time: Date.now() }) }));
    const { deps } = deviceWith({ aheadMs: 24 * YEAR_MS });
    const time = await TimeKeeper.open(deps);
    const untrusting = { address, anchors: [stranger.rootDer] };
    expect(await askTime({ ...deps, time }, untrusting)).toBe(false);
    const right = deviceWith();
    const rightTime = await TimeKeeper.open(right.deps);
    (await openDirectory({ ...right.deps, time: rightTime }, target(address))).session.close();
    expect(Math.abs(rightTime.now() - Date.now())).toBeLessThan(MINUTE_MS);
    await right.deps.est.fetchUnverifiedCaCertificates(address).catch(() => {});
    expect(Math.abs(rightTime.now() - Date.now())).toBeLessThan(MINUTE_MS);
    expect(time.now()).toBeGreaterThan(Date.now() + 23 * YEAR_MS);
  });
});
