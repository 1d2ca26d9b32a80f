import { hash } from 'node:crypto';
import { beforeAll, describe, expect, test } from 'vitest';
import type { AgentConfig } from '#device-agent/domain/agent-config.ts';
import { openAgentState } from '#device-agent/operations/open-agent-state.ts';
import { runAgent } from '#device-agent/operations/run-agent.ts';
import type { RunningAgent } from '#device-agent/operations/running-agent.ts';
import { InMemoryGateway } from '#test/fixtures/device-agent/in-memory-gateway.ts';
import { bootOn, enrollOn, everyCut } from '#test/fixtures/device-agent/power-cut-boots.ts';
import { PowerCutDisk, REMAINS, type Remains } from '#test/fixtures/device-agent/power-cut-disk.ts';
import { TestAuthority } from '#test/fixtures/device-agent/test-authority.ts';

let newGateway: () => InMemoryGateway;
let otherRoot: Buffer;
beforeAll(async () => {
  const [authority, other] = await Promise.all([TestAuthority.create(), TestAuthority.create()]);
  const signer = await authority.issueNoticeSigner();
  otherRoot = other.rootDer;
  newGateway = () => new InMemoryGateway(authority, signer);
});

/** Until this holds, or the power goes. @returns whether it went */
async function runUntil(disk: PowerCutDisk, gateway: InMemoryGateway, holds: () => boolean): Promise<boolean> {
  disk.onCut = () => gateway.look();
  let agent: RunningAgent | undefined;
  try {
    agent = await runAgent(bootOn(disk, gateway));
    await gateway.until(() => disk.isOff || holds());
  } catch (error) {
    if (!disk.isOff) throw error;
  }
  await agent?.stop();
  return disk.isOff;
}

type Begun = { disk: PowerCutDisk; gateway: InMemoryGateway; holds: () => boolean };

/** Cuts at each step of what brings this about, starts again, and has it brought about. @returns how many steps there were */
function cutEverywhere(
  remains: Remains,
  begin: () => Promise<Begun>,
  check: (begun: Begun, next: PowerCutDisk, where: string) => Promise<void>,
): Promise<number> {
  return everyCut(async (cutAt) => {
    const begun = await begin();
    const { disk, gateway, holds } = begun;
    disk.cutAfter(cutAt);
    const isCut = await runUntil(disk, gateway, holds);
    const next = isCut ? disk.afterCut(remains) : disk;
    next.cutAfter(Number.POSITIVE_INFINITY);
    await runUntil(next, gateway, holds);
    await check(begun, next, `cut at ${cutAt}`);
    return isCut ? 'cut' : 'through';
  });
}

async function newCertificateRefused(): Promise<Begun> {
  const gateway = newGateway();
  const disk = new PowerCutDisk();
  const { serial } = await enrollOn(disk, gateway);
  const unwanted = () => [...gateway.unwanted][0] ?? '';
  gateway.onIssued = (issued) => {
    if (gateway.unwanted.size === 0) gateway.unwanted.add(issued);
  };
  const noticeId = gateway.orderRenewal(serial);
  const isAnswered = () => gateway.acks.get(noticeId)?.some((outcome) => outcome !== 'received') === true;
  const holds = () =>
    isAnswered() && ![serial, unwanted(), ''].includes(gateway.reported) && gateway.rolledBack.has(unwanted());
  return { disk, gateway, holds };
}

async function oldCertificateBack(): Promise<Begun> {
  const gateway = newGateway();
  const disk = new PowerCutDisk();
  const { serial } = await enrollOn(disk, gateway);
  gateway.orderRenewal(serial);
  let forgotten = '';
  gateway.onIssued = (issued) => {
    forgotten = issued;
  };
  await runUntil(disk, gateway, () => forgotten !== '' && gateway.reported === forgotten);
  // As a gateway that was restored from a copy of before.
  gateway.onIssued = () => {};
  gateway.unwanted.add(forgotten);
  gateway.superseded.clear();
  const holds = () => ![serial, forgotten].includes(gateway.reported) && gateway.rolledBack.has(forgotten);
  return { disk, gateway, holds };
}

async function pinnedRootDropped(): Promise<Begun> {
  const gateway = newGateway();
  const disk = new PowerCutDisk();
  await enrollOn(disk, gateway);
  const { store } = bootOn(disk, gateway);
  const [own = Buffer.alloc(0)] = await store.readTrust();
  // The root of the join URL is the one to be dropped.
  await store.writeTrust([otherRoot, own]);
  const config = (await store.readRecord('agent')) as AgentConfig;
  await store.writeRecord('agent', { ...config, rootSha256: hash('sha256', otherRoot, 'hex') });
  const anchors = [own.toString('base64')];
  const noticeId = gateway.order('n-trust', { kind: 'trust', body: { version: 3, anchors, intermediates: [] } });
  return { disk, gateway, holds: () => gateway.acks.get(noticeId)?.includes('done') === true };
}

describe.each(REMAINS)('after a power cut at any step (%s)', (remains: Remains) => {
  test('a new certificate that does not work is rolled back, reported and replaced', async () => {
    const cuts = await cutEverywhere(remains, newCertificateRefused, async ({ gateway }, next, where) => {
      const { identity } = await openAgentState(bootOn(next, gateway));
      expect(identity.certificate.serial, where).toBe(gateway.reported);
      expect(gateway.refusals, where).toEqual([]);
    });
    expect(cuts).toBeGreaterThan(60);
  });

  test('a device that stepped back to the certificate before gets another', async () => {
    const cuts = await cutEverywhere(remains, oldCertificateBack, async ({ gateway }, next, where) => {
      const { identity } = await openAgentState(bootOn(next, gateway));
      expect(identity.certificate.serial, where).toBe(gateway.reported);
      expect(gateway.refusals, where).toEqual([]);
    });
    expect(cuts).toBeGreaterThan(60);
  });

  test('the anchors are those of before or of after, and the pinned root is one of them', async () => {
    const cuts = await cutEverywhere(remains, pinnedRootDropped, async ({ gateway }, next, where) => {
      const { store } = bootOn(next, gateway);
      const anchors = await store.readTrust();
      expect(anchors, where).toHaveLength(1);
      expect(anchors[0]?.equals(otherRoot), where).toBe(false);
      expect(await store.readRecord('trust'), where).toEqual({ version: 1, trustVersion: 3 });
      const [own = Buffer.alloc(0)] = anchors;
      expect(await store.readRecord('agent'), where).toMatchObject({ rootSha256: hash('sha256', own, 'hex') });
    });
    expect(cuts).toBeGreaterThan(20);
  });
});
