import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { NO_TRUST_MEMORY } from '#device-agent/domain/trust-change.ts';
import { TimeKeeper } from '#device-agent/operations/time-keeper.ts';
import { TrustKeeper } from '#device-agent/operations/trust-keeper.ts';
import { silentLog } from '#device-agent/runtime/json-log.ts';
import { systemClock } from '#device-agent/runtime/system-clock.ts';
import { MemoryStateStore } from '#device-agent/state/memory-state-store.ts';
import type { NoticeBody } from '#gateway/contract/notice.ts';
import { TestGateway } from '#test/fixtures/device-agent/test-gateway.ts';

/** Each with a root of its own; nothing links them. */
let old: TestGateway;
let fresh: TestGateway;
let stranger: TestGateway;
beforeAll(async () => {
  [old, fresh, stranger] = await Promise.all([TestGateway.start(), TestGateway.start(), TestGateway.start()]);
});
afterAll(() => Promise.all([old, fresh, stranger].map((gateway) => gateway.stop())));

const rootOf = ({ authority }: TestGateway) => authority.rootDer;
const OLD_AND_NEW = () => [old, fresh];

function naming(version: number, gateways: TestGateway[], more: Partial<{ anchors: string[] }> = {}): NoticeBody {
  const anchors = gateways.map((gateway) => rootOf(gateway).toString('base64'));
  return { kind: 'trust', body: { version, anchors, intermediates: [], ...more } };
}

/** For the whole fleet. */
function fleetNotice(by: TestGateway, body: NoticeBody, overrides: object = {}): Buffer {
  return Buffer.from(by.formatNotice(body, { deviceId: '*', ...overrides }).jws);
}

async function openKeeper(store = new MemoryStateStore(), anchors = [rootOf(old)]) {
  const changes: Buffer[][] = [];
  if ((await store.readTrust()).length === 0) await store.writeTrust(anchors);
  const time = await TimeKeeper.open({ store, clock: systemClock });
  const keeper = await TrustKeeper.open({ store, log: silentLog, time }, await store.readTrust(), async (now) => {
    changes.push(now);
  });
  return { keeper, store, changes };
}

describe('the anchors of a device', () => {
  test('are added to on the word of one it has, on the disk and at once', async () => {
    const { keeper, store, changes } = await openKeeper();
    await keeper.receive(fleetNotice(old, naming(1, OLD_AND_NEW())));
    expect(keeper.anchors).toEqual([rootOf(old), rootOf(fresh)]);
    expect(await store.readTrust()).toEqual(keeper.anchors);
    expect(changes).toEqual([keeper.anchors]);
    expect(keeper.fingerprints).toHaveLength(2);
  });

  test('are dropped on the word of one that stays', async () => {
    const { keeper, store } = await openKeeper();
    await keeper.receive(fleetNotice(old, naming(1, OLD_AND_NEW())));
    await keeper.receive(fleetNotice(fresh, naming(2, [fresh])));
    expect(keeper.anchors).toEqual([rootOf(fresh)]);
    expect(await store.readTrust()).toEqual([rootOf(fresh)]);
  });

  test('are not dropped on the word of the one that is dropped', async () => {
    const { keeper, store } = await openKeeper();
    await keeper.receive(fleetNotice(old, naming(1, OLD_AND_NEW())));
    await keeper.receive(fleetNotice(old, naming(2, [fresh])));
    expect(await store.readTrust()).toEqual([rootOf(old), rootOf(fresh)]);
    const { jws } = old.formatNotice(naming(3, [fresh]));
    const body = naming(3, [fresh]);
    if (body.kind !== 'trust') throw new Error('a trust notice');
    expect(await keeper.obey(jws, body.body)).toEqual({
      outcome: 'failed',
      detail: 'it drops the anchor that it is signed under',
    });
  });

  test('are never all replaced at once: a stolen old root alone cannot push itself a successor', async () => {
    const { keeper } = await openKeeper();
    await keeper.receive(fleetNotice(old, naming(1, [stranger])));
    expect(keeper.anchors).toEqual([rootOf(old)]);
  });

  test('do not change on the word of a stranger, a wrong purpose or a wrong signature', async () => {
    const { keeper, changes } = await openKeeper();
    await keeper.receive(fleetNotice(stranger, naming(1, [old, stranger])));
    const server = await old.authority.issueServer();
    await keeper.receive(fleetNotice(old, naming(1, OLD_AND_NEW()), { signer: server }));
    const honest = fleetNotice(old, naming(1, OLD_AND_NEW())).toString();
    const [header, , signature] = honest.split('.');
    const payload = fleetNotice(old, naming(1, [old, stranger]))
      .toString()
      .split('.')[1];
    await keeper.receive(Buffer.from(`${header}.${payload}.${signature}`));
    await keeper.receive(Buffer.from('garbage'));
    expect(keeper.anchors).toEqual([rootOf(old)]);
    expect(changes).toEqual([]);
  });

  test('do not change on a notice for another device, or of another kind, on the topic of the fleet', async () => {
    const { keeper } = await openKeeper();
    await keeper.receive(fleetNotice(old, naming(1, OLD_AND_NEW()), { deviceId: 'pump-99' }));
    await keeper.receive(fleetNotice(old, { kind: 'quarantine', body: { active: true, reason: '' } }));
    expect(keeper.anchors).toEqual([rootOf(old)]);
  });

  test('do not go back when an old notice is played again, also after a restart', async () => {
    const { keeper, store } = await openKeeper();
    const before = fleetNotice(old, naming(5, OLD_AND_NEW()));
    await keeper.receive(before);
    await keeper.receive(fleetNotice(fresh, naming(6, [fresh])));
    await keeper.receive(fleetNotice(fresh, naming(5, OLD_AND_NEW())));
    expect(keeper.anchors).toEqual([rootOf(fresh)]);
    const again = await openKeeper(store);
    await again.keeper.receive(fleetNotice(fresh, naming(5, OLD_AND_NEW())));
    expect(again.keeper.anchors).toEqual([rootOf(fresh)]);
  });

  test('stay as they are when the same is said again', async () => {
    const { keeper, changes } = await openKeeper();
    const said = fleetNotice(old, naming(1, OLD_AND_NEW()));
    await keeper.receive(said);
    await keeper.receive(said);
    await keeper.receive(fleetNotice(old, naming(2, OLD_AND_NEW())));
    expect(changes).toHaveLength(1);
  });

  test('are roots: an intermediate, a leaf or garbage among them spoils the whole notice', async () => {
    const { keeper } = await openKeeper();
    const leaf = await old.authority.issueServer();
    for (const bad of [old.authority.intermediateDer, leaf.der, Buffer.from('no certificate')]) {
      const anchors = [rootOf(old), bad].map((der) => der.toString('base64'));
      await keeper.receive(fleetNotice(old, naming(1, [], { anchors })));
    }
    expect(keeper.anchors).toEqual([rootOf(old)]);
  });

  test('are whole after a power cut between the two files: the same notice changes nothing then', async () => {
    class Cut extends MemoryStateStore {
      isCut = false;
      override async writeRecord(...args: Parameters<MemoryStateStore['writeRecord']>): Promise<void> {
        if (this.isCut && args[0] === 'trust') throw new Error('no power');
        return super.writeRecord(...args);
      }
    }
    const store = new Cut();
    const { keeper } = await openKeeper(store);
    store.isCut = true;
    const said = fleetNotice(old, naming(1, OLD_AND_NEW()));
    await keeper.receive(said);
    // Nothing is used that was not recorded whole.
    expect(keeper.anchors).toEqual([rootOf(old)]);
    store.isCut = false;
    const again = await openKeeper(store);
    expect(again.keeper.anchors).toEqual([rootOf(old), rootOf(fresh)]);
    await again.keeper.receive(said);
    expect(await store.readRecord('trust')).toEqual({ version: 1, trustVersion: 1 });
  });

  test('are kept through a damaged memory of versions', async () => {
    const store = new MemoryStateStore();
    await store.writeRecord('trust', { version: 1, trustVersion: 'many' });
    const { keeper } = await openKeeper(store);
    await keeper.receive(fleetNotice(old, naming(1, OLD_AND_NEW())));
    expect(keeper.anchors).toHaveLength(2);
    expect(NO_TRUST_MEMORY.trustVersion).toBe(0);
  });
});
