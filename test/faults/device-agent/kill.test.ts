import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { AgentProcesses, ended } from '#test/fixtures/device-agent/agent-process.ts';
import { TestGateway } from '#test/fixtures/device-agent/test-gateway.ts';

let gateway: TestGateway;
let agents: AgentProcesses;
beforeEach(async () => {
  gateway = await TestGateway.start();
  agents = await AgentProcesses.create();
});
afterEach(async () => {
  await agents.stopAll();
  await gateway.stop();
});

const reported = (serial: string) =>
  gateway.states().some((state) => state['connected'] === true && state['serial'] === serial);

describe('an agent killed with -9', () => {
  test('while it asks for its first certificate enrolls with the same key afterwards', async () => {
    const enrolling = agents.start(['enroll', gateway.joinUrl]);
    gateway.decide = () => {
      enrolling.kill('SIGKILL');
      return 'lose';
    };
    await ended(enrolling);
    gateway.decide = () => 'issue';
    const { code, stderr } = await agents.run(['enroll', gateway.joinUrl]);
    expect({ code, stderr }).toMatchObject({ code: 0, stderr: expect.stringContaining('of the request before') });
    expect(new Set(gateway.calls.map(({ spki }) => spki)).size).toBe(1);
  });

  test('while it asks for a renewal finishes it with the same key afterwards', async () => {
    await agents.run(['enroll', gateway.joinUrl, '--no-confirm']);
    const { child } = await agents.daemon([]);
    await gateway.until(() => gateway.states().length > 0);
    const serial = String(gateway.states()[0]?.['serial']);
    gateway.decide = () => {
      child.kill('SIGKILL');
      return 'lose';
    };
    const noticeId = gateway.renewNotice(serial);
    await ended(child);
    gateway.decide = () => 'issue';
    await agents.daemon([]);
    await gateway.until(() => gateway.acks(noticeId).includes('done'));
    expect(new Set(gateway.calls.map(({ spki }) => spki)).size).toBe(2);
    await gateway.until(() => gateway.connects.some((connected) => connected !== serial && reported(connected)));
  });

  test('while its new certificate is being proven proves it first afterwards', async () => {
    await agents.run(['enroll', gateway.joinUrl, '--no-confirm']);
    const { child } = await agents.daemon([]);
    await gateway.until(() => gateway.states().length > 0);
    const serial = String(gateway.states()[0]?.['serial']);
    gateway.onConnect = (connecting) => {
      if (connecting !== serial) child.kill('SIGKILL');
    };
    gateway.renewNotice(serial);
    await ended(child);
    const newSerial = gateway.connects.at(-1) ?? '';
    const connects = gateway.connects.length;
    gateway.onConnect = () => {};
    await agents.daemon([]);
    await gateway.until(() => reported(newSerial));
    expect(gateway.connects.slice(connects)).toEqual([newSerial]);
    expect(gateway.calls).toHaveLength(2);
  });
});
