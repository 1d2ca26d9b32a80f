import { describe, expect, test } from 'vitest';
import { AdmissionGate, type GateLimits } from '#gateway/mqtt/admission-gate.ts';
import { DEFAULT_MQTT_LIMITS } from '#gateway/mqtt/mqtt-limits.ts';

/** One client's try to connect. */
type Try = { address: string; came: number; ends: 'served' | 'gave up' | 'dropped' | undefined };

type Storm = {
  /** Connections a second that arrive, from each of these addresses. */
  perSecond: Record<string, number>;
  /** Milliseconds until a client gives up. */
  patience: number;
};

/** Handshakes a second that the machine can do. */
const CAPACITY = 200;
const STEP_MS = 1;

/**
 * The gate before a machine with one processor, in time that is counted and not waited for. Serving somebody who has
 * given up costs half as much as serving somebody who has not, and nobody gets anything for it.
 */
class Machine {
  readonly tries: Try[] = [];
  readonly #gate: AdmissionGate<Try>;
  readonly #work: Try[] = [];
  #now = 0;
  #busyUntil = 0;
  #sweptAt = 0;

  constructor(limits: Partial<GateLimits> = {}) {
    this.#gate = new AdmissionGate<Try>(
      { ...DEFAULT_MQTT_LIMITS, ...limits },
      (one) => this.#work.push(one),
      (one) => {
        one.ends ??= 'dropped';
      },
    );
  }

  run({ perSecond, patience }: Storm, milliseconds: number): Try[] {
    const until = this.#now + milliseconds;
    const first = this.tries.length;
    const owed = new Map(Object.keys(perSecond).map((address) => [address, 0]));
    while (this.#now < until) {
      for (const [address, rate] of Object.entries(perSecond)) {
        let due = (owed.get(address) ?? 0) + (rate * STEP_MS) / 1000;
        for (; due >= 1; due -= 1) {
          const one: Try = { address, came: this.#now, ends: undefined };
          this.tries.push(one);
          this.#gate.arrive(one, address, this.#now);
        }
        owed.set(address, due);
      }
      this.#serve(patience);
      if (this.#now - this.#sweptAt >= 1000) {
        this.#sweptAt = this.#now;
        this.#gate.sweep(this.#now);
      }
      this.#now += STEP_MS;
    }
    return this.tries.slice(first);
  }

  #serve(patience: number): void {
    while (this.#busyUntil <= this.#now) {
      const one = this.#work.shift();
      if (one === undefined) return;
      const hasGivenUp = this.#now - one.came > patience;
      one.ends = hasGivenUp ? 'gave up' : 'served';
      this.#busyUntil = Math.max(this.#busyUntil, this.#now) + (1000 / CAPACITY) * (hasGivenUp ? 0.5 : 1);
      this.#gate.handshakeEnded(one, this.#now);
      if (!hasGivenUp) this.#gate.admitted(one.address, this.#now);
    }
  }
}

function servedPerSecond(tries: readonly Try[], seconds: number, address?: string): number {
  return (
    tries.filter((one) => one.ends === 'served' && (address === undefined || one.address === address)).length / seconds
  );
}

describe('the admission gate in a storm of connections', () => {
  test.each([
    ['as much as can be served', 1, 0.9],
    ['twice as much', 2, 0.9],
    ['eight times as much', 8, 0.9],
  ])('%s: the machine goes on serving at its pace, although clients give up after five seconds', (_, times, least) => {
    const machine = new Machine();
    machine.run({ perSecond: { '10.0.0.1': CAPACITY * times }, patience: 5_000 }, 15_000);
    const tries = machine.run({ perSecond: { '10.0.0.1': CAPACITY * times }, patience: 5_000 }, 20_000);
    expect(servedPerSecond(tries, 20)).toBeGreaterThanOrEqual(CAPACITY * least);
  });

  test('after it the first to come is served, not those who have long gone', () => {
    const machine = new Machine();
    machine.run({ perSecond: { '10.0.0.1': CAPACITY * 4 }, patience: 5_000 }, 10_000);
    // All of them give up at this moment.
    const after = machine.run({ perSecond: { '10.0.0.1': CAPACITY / 4 }, patience: 1_500 }, 5_000);
    expect(servedPerSecond(after, 5)).toBeGreaterThanOrEqual((CAPACITY / 4) * 0.8);
  });

  test('a neighbour with little to ask gets all of it at once', () => {
    const machine = new Machine();
    const storm = { perSecond: { '10.0.0.1': CAPACITY * 4, '10.0.0.2': 10 }, patience: 2_000 };
    machine.run(storm, 10_000);
    const tries = machine.run(storm, 10_000).filter(({ came }) => came < 19_000);
    const neighbour = tries.filter(({ address }) => address === '10.0.0.2');
    expect(neighbour.every(({ ends }) => ends === 'served')).toBe(true);
  });

  test('below what can be served it is first come, first served', () => {
    const order: number[] = [];
    const gate = new AdmissionGate<{ n: number }>(
      { ...DEFAULT_MQTT_LIMITS, maxHandshakes: 1 },
      ({ n }) => order.push(n),
      () => {},
    );
    const arrivals = Array.from({ length: 5 }, (_, n) => ({ n }));
    for (const arrival of arrivals) gate.arrive(arrival, '10.0.0.1', arrival.n);
    for (const arrival of arrivals) gate.handshakeEnded(arrival, 100 + arrival.n);
    expect(order).toEqual([0, 1, 2, 3, 4]);
  });
});
