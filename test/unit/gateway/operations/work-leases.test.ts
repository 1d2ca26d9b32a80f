import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { sweep } from '#gateway/operations/sweep.ts';
import { WorkLeases } from '#gateway/operations/work-leases.ts';
import { RecurringWork } from '#gateway/recurring-work.ts';
import { openSqliteStore } from '#gateway/store/sqlite-store.ts';
import { changePolicy, enroll, openWorld, register, type World } from '#test/fixtures/gateway/operations-world.ts';

const LIFE_MS = 60_000;

let world: World;
/** The same database file, as another process has it open. */
let other: Awaited<ReturnType<typeof openSqliteStore>>;
beforeEach(async () => {
  world = await openWorld();
  other = await openSqliteStore(join(world.folder, 'gateway.db'));
});
afterEach(async () => {
  vi.useRealTimers();
  await other.close();
  await world.close();
});

const { log } = { log: { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} } };

function twoCores() {
  const { clock } = world;
  const turns: string[] = [];
  const core = (holder: string, store: World['store']) => {
    const leases = new WorkLeases({ store, clock, log }, { holder, lifeMs: LIFE_MS });
    return { leases, turn: leases.only('sweep', async () => void turns.push(holder)) };
  };
  return { turns, a: core('a', world.store), b: core('b', other) };
}

describe('work that two gateways on one database do only once', () => {
  it('is done by the one that came first, turn after turn', async () => {
    const { turns, a, b } = twoCores();
    for (let round = 0; round < 5; round += 1) {
      await b.turn();
      await a.turn();
      world.clock.at += LIFE_MS / 3;
    }
    expect(turns).toEqual(['b', 'b', 'b', 'b', 'b']);
  });

  it('is done by one alone when both come at the same moment', async () => {
    const { turns, a, b } = twoCores();
    await Promise.all([a.turn(), b.turn(), a.turn(), b.turn()]);
    expect(new Set(turns).size).toBe(1);
  });

  it('is taken over at once from one that ends', async () => {
    const { turns, a, b } = twoCores();
    await a.turn();
    await a.leases.release();
    await b.turn();
    await a.turn();
    expect(turns).toEqual(['a', 'b']);
  });

  it('is taken over from one that has died, when its lease has run out', async () => {
    const { turns, a, b } = twoCores();
    await a.turn();
    world.clock.at += LIFE_MS - 1;
    await b.turn();
    world.clock.at += 1;
    await b.turn();
    expect(turns).toEqual(['a', 'b']);
  });

  it('costs no write in most turns', async () => {
    let writes = 0;
    const store = {
      write: <T>(work: Parameters<World['store']['write']>[0]) => {
        writes += 1;
        return world.store.write(work) as Promise<T>;
      },
    };
    const leases = new WorkLeases({ store, clock: world.clock, log }, { holder: 'a', lifeMs: LIFE_MS });
    const turn = leases.only('sweep', async () => {});
    for (let round = 0; round < 15; round += 1) {
      await turn();
      world.clock.at += 2000;
    }
    expect(writes).toBe(1);
  });

  it('keeps its lease while one turn takes longer than the lease lasts', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    const { turns, a, b } = twoCores();
    const [begun, ending] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const long = a.leases.only('sweep', () => {
      begun.resolve();
      return ending.promise;
    })();
    await begun.promise;
    for (let passed = 0; passed < 4 * LIFE_MS; passed += LIFE_MS / 8) {
      world.clock.at += LIFE_MS / 8;
      vi.advanceTimersByTime(LIFE_MS / 8);
      // Behind what it writes to keep its lease.
      await world.store.write(async () => {});
      await b.turn();
    }
    expect(turns).toEqual([]);
    ending.resolve();
    await long;
    world.clock.at += LIFE_MS;
    await b.turn();
    expect(turns).toEqual(['b']);
  });

  it('one lease says nothing about the others', async () => {
    const { b } = twoCores();
    await b.turn();
    const mine = new WorkLeases({ store: world.store, clock: world.clock, log }, { holder: 'a' });
    let done = false;
    await mine.only('history', async () => {
      done = true;
    })();
    expect(done).toBe(true);
  });
});

it('two gateways with one database sweep it once: each lapsed certificate has one line in the audit', async () => {
  await changePolicy(world, { pendingLapseSeconds: 60 });
  for (const id of ['press-1', 'press-2', 'press-3']) await enroll(world, id, await register(world, id));
  world.clock.at += 61_000;
  const both = [world.store, other].map((store, index) => {
    const work = new RecurringWork(log);
    const leases = new WorkLeases({ store, clock: world.clock, log }, { holder: `${index}` });
    work.add(
      'sweep',
      5,
      leases.only('sweep', () => sweep({ ...world, store })),
    );
    return work;
  });
  const lapsed = () => world.store.read.audit.list({ action: 'certificate.lapsed', limit: 20 });
  while ((await lapsed()).length < 3) await new Promise((resolve) => setTimeout(resolve, 10));
  await Promise.all(both.map((work) => work.stop()));
  expect(await lapsed()).toHaveLength(3);
});
