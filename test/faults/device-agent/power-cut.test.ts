import { beforeAll, describe, expect, test } from 'vitest';
import { parseNoticeMemory } from '#device-agent/domain/notice-memory.ts';
import { runAgent } from '#device-agent/operations/run-agent.ts';
import type { RunningAgent } from '#device-agent/operations/running-agent.ts';
import { InMemoryGateway } from '#test/fixtures/device-agent/in-memory-gateway.ts';
import { bootOn, enrollOn, everyCut } from '#test/fixtures/device-agent/power-cut-boots.ts';
import { PowerCutDisk, REMAINS, type Remains } from '#test/fixtures/device-agent/power-cut-disk.ts';
import { TestAuthority } from '#test/fixtures/device-agent/test-authority.ts';

let newGateway: () => InMemoryGateway;
beforeAll(async () => {
  const authority = await TestAuthority.create();
  const signer = await authority.issueNoticeSigner();
  newGateway = () => new InMemoryGateway(authority, signer);
});

/** Runs until the renewal that a notice ordered has been answered, or the power goes. */
async function renewByNotice(disk: PowerCutDisk, gateway: InMemoryGateway, noticeId: string): Promise<void> {
  disk.onCut = () => gateway.look();
  let agent: RunningAgent | undefined;
  try {
    agent = await runAgent(bootOn(disk, gateway));
    const memory = async () => parseNoticeMemory(await bootOn(disk, gateway).store.readRecord('notices'));
    await gateway.until(
      () => disk.isOff || (gateway.acks.get(noticeId)?.includes('done') === true && gateway.reported !== ''),
    );
    // The last words of the agent: the notice is answered, remembered, and older generations are gone.
    while (!disk.isOff && !(await memory())?.handled.every(({ acknowledged }) => acknowledged))
      await new Promise(setImmediate);
  } catch (error) {
    if (!disk.isOff) throw error;
  }
  await agent?.stop();
}

describe.each(REMAINS)('after a power cut at any step (%s)', (remains: Remains) => {
  test('an enrollment can be started again and gets the one certificate made for its key', async () => {
    const cuts = await everyCut(async (cutAt) => {
      const gateway = newGateway();
      const disk = new PowerCutDisk();
      disk.cutAfter(cutAt);
      await enrollOn(disk, gateway).catch(() => {});
      if (!disk.isOff) return 'through';
      const next = disk.afterCut(remains);
      const { serial } = await enrollOn(next, gateway);
      expect(gateway.issued.size, `cut at ${cutAt}`).toBe(1);
      expect(gateway.sessions.at(-1)).toBe(serial);
      return 'cut';
    });
    expect(cuts).toBeGreaterThan(25);
  });

  test('a renewal starts again with a working identity and is done once', async () => {
    const cuts = await everyCut(async (cutAt) => {
      const where = `cut at ${cutAt}`;
      const gateway = newGateway();
      const disk = new PowerCutDisk();
      const { serial } = await enrollOn(disk, gateway);
      const noticeId = gateway.orderRenewal(serial);
      disk.cutAfter(cutAt);
      await renewByNotice(disk, gateway, noticeId);
      const isCut = disk.isOff;
      const next = isCut ? disk.afterCut(remains) : disk;
      next.cutAfter(Number.POSITIVE_INFINITY);
      await renewByNotice(next, gateway, noticeId);
      // Never back with a certificate that the gateway has let go.
      expect(gateway.refusals, where).toEqual([]);
      expect(gateway.issued.size, where).toBe(2);
      const [, renewed] = [...gateway.issued.values()];
      expect(gateway.reported, where).toBe(renewed?.serial);
      expect(gateway.acks.get(noticeId), where).toContain('done');
      return isCut ? 'cut' : 'through';
    });
    expect(cuts).toBeGreaterThan(30);
  });
});
