import { describe, expect, test } from 'vitest';
import { PhaseRecorder } from '#simulators/fleet/phase-recorder.ts';
import { runBounded } from '#simulators/fleet/run-bounded.ts';
import { formatFailures, formatPhases, formatRepeats } from '#simulators/report/format-phases.ts';
import { ProgressLines } from '#simulators/report/live-progress.ts';

describe('a bounded run', () => {
  test('works on so many at once and no more, and on every one', async () => {
    let inside = 0;
    let most = 0;
    const done: number[] = [];
    await runBounded([...Array(25).keys()], 4, async (item) => {
      inside += 1;
      most = Math.max(most, inside);
      await new Promise((resolve) => setImmediate(resolve));
      inside -= 1;
      done.push(item);
    });
    expect(most).toBe(4);
    expect(done.toSorted((a, b) => a - b)).toEqual([...Array(25).keys()]);
  });

  test('begins nothing new once it is ended, and waits for what has begun', async () => {
    const ending = new AbortController();
    const finished: number[] = [];
    await runBounded(
      [1, 2, 3, 4, 5, 6],
      2,
      async (item) => {
        ending.abort();
        await new Promise((resolve) => setImmediate(resolve));
        finished.push(item);
      },
      ending.signal,
    );
    expect(finished).toEqual([1]);
  });
});

describe('a recorded phase', () => {
  const recorder = new PhaseRecorder('enroll', 103, 1000);
  for (let ms = 1; ms <= 100; ms += 1) recorder.recordDone(ms);
  for (const id of ['a-1', 'a-2']) recorder.recordFailure('GATEWAY_REFUSED', 'the ticket was used', id);
  recorder.recordFailure('TIMEOUT', 'not done after 60 s', 'sim-x-0103');
  for (const reason of ['GATEWAY_BUSY', 'session unreachable', 'session unreachable']) recorder.recordRepeat(reason);
  const result = recorder.finish(3000, { before: { own: 100, gateway: 50 }, after: { own: 600, gateway: 350 } });

  test('tells how many, how fast, and the percentiles of the latency', () => {
    expect(result).toMatchObject({ name: 'enroll', count: 100, failed: 3, repeated: 3, seconds: 2, perSecond: 50 });
    expect(result.latencyMs?.p50).toBeCloseTo(50, 0);
    expect(result.latencyMs?.p99).toBeCloseTo(99, 0);
    expect(result.latencyMs?.max).toBeCloseTo(100, 0);
  });

  test('tells why attempts were made again, the most frequent reason first', () => {
    expect(result.repeatedBecause).toEqual([
      { reason: 'session unreachable', count: 2 },
      { reason: 'GATEWAY_BUSY', count: 1 },
    ]);
    expect(formatRepeats([result])).toBe(
      'enroll: 3 attempts failed and were made again by the devices (2 x session unreachable, 1 x GATEWAY_BUSY)',
    );
  });

  test('tells what each device cost this process and the gateway', () => {
    expect(result.processorMs).toEqual({ simulator: 5, gateway: 3 });
  });

  test('groups failures by code, the most frequent first, with the first attempts', () => {
    expect(result.failures).toEqual([
      { code: 'GATEWAY_REFUSED', count: 2, example: 'the ticket was used', first: ['a-1', 'a-2'] },
      { code: 'TIMEOUT', count: 1, example: 'not done after 60 s', first: ['sim-x-0103'] },
    ]);
  });

  test('keeps few of many attempt ids', () => {
    const many = new PhaseRecorder('connect', 1000, 0);
    for (let n = 0; n < 1000; n += 1) many.recordFailure('TIMEOUT', 'late', `a-${n}`);
    expect(many.finish(1).failures[0]?.first).toHaveLength(5);
  });

  test('has no latency when nothing was timed', () => {
    const held = new PhaseRecorder('hold', 1, 0);
    held.recordDone();
    expect(held.finish(1000)).toMatchObject({ count: 1, latencyMs: null, processorMs: null });
  });

  test('is a table that fits 80 columns also for a large fleet', () => {
    const large = {
      ...result,
      name: 'reconnect' as const,
      count: 20_000,
      failed: 20_000,
      seconds: 123.45,
      perSecond: 12_345,
      latencyMs: { p50: 12_345, p90: 23_456, p99: 34_567, max: 45_678 },
    };
    const lines = formatPhases([result, large]).split('\n');
    expect(lines).toHaveLength(3);
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(80);
    expect(formatPhases([result]).split('\n').at(-1)).toMatch(/^enroll +100 +3 +2\.00 +50\.0 /);
  });

  test('is told with its failures and repeats, and with neither when there were none', () => {
    expect(formatFailures([result])).toContain('enroll: 2 x GATEWAY_REFUSED: the ticket was used\n  first: a-1 a-2');
    expect(formatRepeats([result])).toContain('3 attempts');
    const clean = new PhaseRecorder('end', 0, 0).finish(1);
    expect(formatFailures([clean])).toBe('');
    expect(formatRepeats([clean])).toBe('');
  });

  test('is reported as a few plain lines where there is no terminal', () => {
    const lines: string[] = [];
    let now = 0;
    const progress = new ProgressLines(
      (line) => lines.push(line),
      () => now,
    );
    const phase = new PhaseRecorder('connect', 3, 0);
    progress.begin(phase);
    phase.recordDone(1);
    progress.advance(phase);
    now = 6000;
    phase.recordFailure('TIMEOUT', 'late', 'd');
    progress.advance(phase);
    progress.finish(phase.finish(6000));
    expect(lines).toEqual([
      'connect: 3 devices ...',
      'connect: 2 of 3, 1 failed',
      'connect: 1 done, 1 failed in 6.00 s',
    ]);
  });
});
