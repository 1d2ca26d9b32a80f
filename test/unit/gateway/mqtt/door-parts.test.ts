import { describe, expect, test } from 'vitest';
import { networkOf } from '#gateway/domain/network-of.ts';
import { AdmissionGate, type DropReason, type GateLimits } from '#gateway/mqtt/admission-gate.ts';
import { ExpiryWheel } from '#gateway/mqtt/expiry-wheel.ts';
import { RefusalLimiter } from '#gateway/mqtt/refusal-limiter.ts';
import { explainTlsRefusal } from '#gateway/mqtt/tls-refusal.ts';
import { TokenBucket } from '#gateway/mqtt/token-bucket.ts';
import { filterCovers } from '#gateway/mqtt/topic-filter.ts';

describe('filterCovers follows MQTT 3.1.1 4.7', () => {
  test.each([
    ['a/b', 'a/b', true],
    ['a/b', 'a/b/c', false],
    ['a/+', 'a/b', true],
    ['a/+', 'a/b/c', false],
    ['a/+', 'a', false],
    ['a/+', 'a/', true],
    ['a/#', 'a', true],
    ['a/#', 'a/b/c', true],
    ['a/#', 'ab', false],
    ['+/+', '/a', true],
    ['#', 'a/b', true],
    ['#', '$SYS/a', false],
    ['+/a', '$SYS/a', false],
    ['$SYS/#', '$SYS/a', true],
    ['a/b/c', 'a/b', false],
  ])('%s covers %s: %s', (filter, topic, expected) => {
    expect(filterCovers(filter, topic)).toBe(expected);
  });
});

describe('networkOf', () => {
  test.each([
    ['127.0.0.1', '127.0.0.1'],
    ['::ffff:10.1.2.3', '10.1.2.3'],
    ['2001:db8:1:2:aaaa:bbbb:cccc:dddd', '2001:db8:1:2::/64'],
    ['2001:db8:1:2::1', '2001:db8:1:2::/64'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
  ])('%s counts as %s', (address, key) => {
    expect(networkOf(address)).toBe(key);
  });
});

describe('TokenBucket', () => {
  test('gives its burst at once, then by the second, and never more than its burst', () => {
    const bucket = new TokenBucket(2, 1, 0);
    expect([bucket.take(0), bucket.take(0), bucket.take(0)]).toEqual([true, true, false]);
    expect(bucket.take(999)).toBe(false);
    expect(bucket.take(1000)).toBe(true);
    expect(bucket.isFull(60_000)).toBe(true);
    expect([bucket.take(60_000), bucket.take(60_000), bucket.take(60_000)]).toEqual([true, true, false]);
    bucket.giveBack();
    expect(bucket.take(60_000)).toBe(true);
  });

  test('is not confused by a clock that stands still or goes back', () => {
    const bucket = new TokenBucket(1, 1, 1000);
    expect(bucket.take(1000)).toBe(true);
    expect(bucket.take(0)).toBe(false);
  });
});

describe('AdmissionGate', () => {
  const LIMITS: GateLimits = {
    maxHandshakes: 2,
    maxHandshakesPerAddress: 2,
    maxWaiting: 8,
    maxWaitMs: 1000,
    addressBurst: 100,
    addressPerSecond: 1,
  };
  type Arrival = { name: string };
  function gateWith(limits: Partial<GateLimits> = {}) {
    const started: string[] = [];
    const dropped: [string, DropReason][] = [];
    const arrivals = new Map<string, Arrival>();
    const gate = new AdmissionGate<Arrival>(
      { ...LIMITS, ...limits },
      ({ name }) => started.push(name),
      ({ name }, reason) => dropped.push([name, reason]),
    );
    return {
      gate,
      started,
      dropped,
      arrive: (name: string, address = 'a', now = 0) => {
        const arrival = { name };
        arrivals.set(name, arrival);
        gate.arrive(arrival, address, now);
      },
      end: (name: string, now = 0) => gate.handshakeEnded(arrivals.get(name) ?? { name }, now),
    };
  }

  test('starts as many as allowed and the next when one ends', () => {
    const { started, arrive, end, gate } = gateWith();
    for (const name of ['1', '2', '3', '4']) arrive(name);
    expect(started).toEqual(['1', '2']);
    end('1');
    expect(started).toEqual(['1', '2', '3']);
    end('1');
    expect(started).toEqual(['1', '2', '3']);
    end('3');
    end('2');
    end('4');
    expect(gate.handshakes).toBe(0);
    expect(gate.waiting).toBe(0);
  });

  test('serves addresses in turn, so that a storm from one does not hold up another', () => {
    const { started, arrive, end } = gateWith({ maxHandshakes: 1 });
    for (const name of ['a1', 'a2', 'a3', 'a4']) arrive(name, 'a');
    arrive('b1', 'b');
    end('a1');
    end('a2');
    expect(started).toEqual(['a1', 'a2', 'b1']);
  });

  test('keeps a place free for others than the one that storms', () => {
    const { started, arrive } = gateWith({ maxHandshakesPerAddress: 1 });
    arrive('a1', 'a');
    arrive('a2', 'a');
    arrive('b1', 'b');
    expect(started).toEqual(['a1', 'b1']);
  });

  test('keeps a quarter of the queue free for others and drops what is beyond', () => {
    const { dropped, arrive } = gateWith();
    for (let i = 1; i <= 9; i += 1) arrive(`a${i}`, 'a');
    expect(dropped).toEqual([['a9', 'queue-full']]);
    arrive('b1', 'b');
    arrive('b2', 'b');
    arrive('b3', 'b');
    expect(dropped.slice(1)).toEqual([['b3', 'queue-full']]);
  });

  test('drops who waited too long', () => {
    const { dropped, started, arrive, gate } = gateWith();
    for (const name of ['1', '2', '3']) arrive(name, 'a', 0);
    arrive('4', 'a', 900);
    gate.sweep(1500);
    expect(dropped).toEqual([['3', 'waited-too-long']]);
    expect(started).toEqual(['1', '2']);
    expect(gate.waiting).toBe(1);
  });

  test('makes an address that spent its tokens wait, and goes on as they come back or are given back', () => {
    const { started, arrive, end, gate } = gateWith({
      addressBurst: 2,
      addressPerSecond: 1,
      maxHandshakes: 10,
      maxHandshakesPerAddress: 10,
    });
    for (const name of ['1', '2', '3', '4']) arrive(name, 'a', 0);
    expect(started).toEqual(['1', '2']);
    end('1');
    expect(started).toEqual(['1', '2']);
    gate.admitted('a', 0);
    expect(started).toEqual(['1', '2', '3']);
    gate.sweep(1000);
    expect(started).toEqual(['1', '2', '3', '4']);
  });
});

describe('ExpiryWheel', () => {
  test('takes out what is due, once, and leaves the rest', () => {
    const wheel = new ExpiryWheel<string>(0);
    wheel.add('early', 7_000);
    wheel.add('same slot, later', 9_000);
    wheel.add('late', 60_000);
    expect(wheel.takeDue(6_999)).toEqual([]);
    expect(wheel.takeDue(7_000)).toEqual(['early']);
    expect(wheel.takeDue(8_999)).toEqual([]);
    expect(wheel.takeDue(9_000)).toEqual(['same slot, later']);
    wheel.remove('late', 60_000);
    expect(wheel.takeDue(100_000)).toEqual([]);
  });

  test('finds what was added to the past, and what a jump of years made due', () => {
    const wheel = new ExpiryWheel<string>(1_000_000);
    wheel.add('past', 5);
    expect(wheel.takeDue(1_000_000)).toEqual(['past']);
    wheel.add('soon', 1_010_000);
    expect(wheel.takeDue(1_000_000 + 10 * 365 * 24 * 3600 * 1000)).toEqual(['soon']);
    wheel.add('after the clock went back', 2_000_000);
    expect(wheel.takeDue(1_500_000)).toEqual([]);
    expect(wheel.takeDue(2_000_001)).toEqual(['after the clock went back']);
  });
});

describe('RefusalLimiter', () => {
  test('blocks after so many refusals inside the window, and forgets after it or an admission', () => {
    const limiter = new RefusalLimiter({ maxRefusals: 2, refusalWindowMs: 1000 });
    expect(limiter.isEmpty).toBe(true);
    limiter.refused('a', 0);
    expect(limiter.isBlocked('a', 0)).toBe(false);
    limiter.refused('a', 10);
    expect(limiter.isBlocked('a', 20)).toBe(true);
    expect(limiter.isBlocked('b', 20)).toBe(false);
    expect(limiter.isBlocked('a', 1000)).toBe(false);
    limiter.refused('b', 900);
    limiter.sweep(1500);
    expect(limiter.isEmpty).toBe(false);
    limiter.admitted('b');
    expect(limiter.isEmpty).toBe(true);
  });
});

describe('explainTlsRefusal', () => {
  test.each([
    ['ERR_SSL_TLSV1_ALERT_UNKNOWN_CA', null, 'TLS_GATEWAY_NOT_TRUSTED'],
    ['ERR_SSL_SSL/TLS_ALERT_BAD_CERTIFICATE', null, 'TLS_GATEWAY_NOT_TRUSTED'],
    ['ECONNRESET', null, 'TLS_CLIENT_WENT_AWAY'],
    ['ECONNRESET', 'CERT_HAS_EXPIRED', 'TLS_CERTIFICATE_EXPIRED'],
    ['ECONNRESET', 'SOMETHING_NEW', 'TLS_CERTIFICATE_INVALID'],
    ['ERR_SSL_WRONG_VERSION_NUMBER', null, 'TLS_NOT_TLS'],
    [undefined, null, 'TLS_FAILED'],
  ])('%s with verdict %s is %s', (error, verdict, code) => {
    expect(explainTlsRefusal(error, verdict).code).toBe(code);
  });
});
