import { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { describe, expect, test } from 'vitest';
import { parseCsr, verifyCsrSignature } from '#ca/pkix/csr.ts';
import type { AttemptDetail } from '#gateway/contract/operator-api.ts';
import { divide, PARTS } from '#scripts/bench/enrollment-parts.ts';
import { arriveEvenly } from '#scripts/bench/load/arrive-evenly.ts';
import { ConnectionLost } from '#scripts/bench/load/connection-lost.ts';
import { ConnectionPool } from '#scripts/bench/load/connection-pool.ts';
import { requireOpen } from '#scripts/bench/load/kept-connections.ts';
import { makeCsr } from '#scripts/bench/load/make-csr.ts';
import { mainThreadTime } from '#scripts/bench/process-facts.ts';

const ENDS = { credentials: 1, csr: 2, proof: 2.5, policy: 3, key: 5, certificate: 9 };

function attempt(at: number): AttemptDetail {
  const steps = Object.entries(ENDS).map(([step, after]) => ({ step, outcome: 'ok' as const, detail: null, after }));
  return {
    id: 'a-0',
    at,
    kind: 'enroll',
    door: 'est',
    address: '::1',
    deviceId: 'd',
    outcome: 'issued',
    code: null,
    detail: null,
    nextAction: null,
    milliseconds: 9,
    steps,
  };
}

describe('the time of a request', () => {
  test('is divided into parts that add up to what the device waited', () => {
    const recorded = [100, 200].map((at) => ({ attempt: attempt(at), signedAt: at + 8 }));
    const parts = divide(recorded, { latencies: [14, 14], handshakes: [3, 3] });
    expect(parts).toEqual({
      'connection and TLS': 3,
      credentials: 1,
      'CSR: parse, verify': 1,
      'proof of the key': 0.5,
      policy: 0.5,
      'commit of the intent': 2,
      'authority: sign, journal': 3,
      'commit of the certificate': 1,
      'the rest: sockets, HTTP or MQTT': 2,
      total: 14,
    });
    expect(PARTS.reduce((sum, part) => sum + parts[part], 0)).toBeCloseTo(parts.total);
  });

  test('is not moved by one request that waited for another process', () => {
    const recorded = Array.from({ length: 20 }, () => ({ attempt: attempt(0), signedAt: 8 }));
    const latencies = [900, ...Array.from({ length: 19 }, () => 12)];
    expect(divide(recorded, { latencies }).total).toBe(12);
  });
});

describe('those who come', () => {
  const load = { perSecond: 500, seconds: 0.2, watch: process.pid };

  test('keep coming while nobody is answered', async () => {
    let came = 0;
    const everybodyCame = Promise.withResolvers<void>();
    const result = await arriveEvenly(load, async () => {
      came += 1;
      if (came === 100) everybodyCame.resolve();
      await everybodyCame.promise;
      return { outcome: 'granted' };
    });
    expect(result).toMatchObject({ count: 100, failed: 0 });
    expect(Math.max(...result.latencies)).toBeGreaterThan(100);
  });

  test('are counted by the time it took, which is longer than planned when the load process is late', async () => {
    let came = 0;
    const { arrivals } = await arriveEvenly({ ...load, seconds: 0.4 }, async () => {
      came += 1;
      // In the second half, so that none of it falls before the steady part.
      if (came === 150) {
        const until = performance.now() + 300;
        while (performance.now() < until);
      }
      return { outcome: 'granted' };
    });
    expect(arrivals.offeredPerSecond).toBeLessThan(450);
    expect(arrivals.seconds).toBeGreaterThan(0.3);
    expect(arrivals.granted / arrivals.seconds).toBeLessThan(450);
  });

  test('are told apart: granted, refused, lost, and what must not happen', async () => {
    let came = 0;
    const { count, failed, firstFailure, arrivals } = await arriveEvenly(load, async () => {
      came += 1;
      switch (came % 4) {
        case 0:
          return { outcome: 'refused', sentAt: performance.now() };
        case 1:
          throw new ConnectionLost('closed');
        case 2:
          throw new Error('401');
        default:
          return { outcome: 'granted' };
      }
    });
    expect({ count, failed, firstFailure, refused: arrivals.refused.length, lost: arrivals.lost }).toEqual({
      count: 25,
      failed: 25,
      firstFailure: '401',
      refused: 25,
      lost: 25,
    });
  });
});

const dialAgain = () => Promise.resolve(new TLSSocket(new Socket()));
const connection = (csrs: string[]) => ({ deviceId: 'd', socket: new TLSSocket(new Socket()), csrs });
const takeOne = ({ csrs }: { csrs: string[] }) => Promise.resolve(csrs.pop());

describe('kept connections', () => {
  test('are lent to one at a time, and tell who waits when there is nothing left to ask for', async () => {
    const pool = new ConnectionPool([connection(['second', 'first'])]);
    const asked = await Promise.allSettled([takeOne, takeOne, takeOne].map((work) => pool.lend(work)));
    expect(asked).toMatchObject([
      { status: 'fulfilled', value: 'first' },
      { status: 'fulfilled', value: 'second' },
      { status: 'rejected', reason: new Error('all CSRs are spent') },
    ]);
    await expect(pool.lend(takeOne)).rejects.toThrow('all CSRs are spent');
  });

  test('are opened again when the other side has ended them', async () => {
    const kept = connection(['only']);
    const { socket } = kept;
    expect(await requireOpen(kept, dialAgain)).toBe(socket);
    socket.destroy();
    const used = await requireOpen(kept, dialAgain);
    expect(used).not.toBe(socket);
    expect(used.destroyed).toBe(false);
    expect(kept.socket).toBe(used);
  });
});

test('the CSRs of the load are what a parser takes, with the name that a renewal repeats', () => {
  const uri = 'spiffe://a-trust-domain.example/device/bench-00001';
  const csr = parseCsr(Buffer.from(makeCsr('bench-00001', uri).csr, 'base64'));
  expect(verifyCsrSignature(csr)).toBe(true);
  expect(csr.subjectAltName?.toString('latin1')).toContain(uri);
  expect(parseCsr(Buffer.from(makeCsr('bench-00002').csr, 'base64')).subjectAltName).toBeUndefined();
});

test.runIf(process.platform === 'linux')('the time of a main thread grows while it works', () => {
  const before = mainThreadTime(process.pid).ranMs;
  for (let turn = 0; turn < 200; turn += 1) makeCsr('busy');
  expect(mainThreadTime(process.pid).ranMs).toBeGreaterThan(before);
  expect(mainThreadTime(2 ** 30).ranMs).toBeNaN();
});
