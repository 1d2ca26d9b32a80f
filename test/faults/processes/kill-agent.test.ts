import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { RenewOrdered } from '#gateway/contract/operator-api.ts';
import { AgentProcess } from '#test/fixtures/processes/agent-process.ts';
import { type GatewayProcess, startGateway } from '#test/fixtures/processes/gateway-process.ts';
import { RunningProcess } from '#test/fixtures/processes/running-process.ts';
import { signedButUnknown } from '#test/fixtures/processes/signed-and-recorded.ts';

describe('the agent is killed', () => {
  let gateway: GatewayProcess;
  const agents: AgentProcess[] = [];
  beforeAll(async () => {
    gateway = await startGateway();
  });
  afterAll(async () => {
    await Promise.all(agents.map((agent) => agent.stop()));
    await gateway?.dispose();
  });

  function agentOf(deviceId: string): AgentProcess {
    const agent = new AgentProcess(gateway.folder, deviceId);
    agents.push(agent);
    return agent;
  }

  test.each([
    ['when it has made its key', /✓ 4\/7/],
    ['when its certificate has arrived', /✓ 5\/7/],
    ['when it has stored it', /✓ 6\/7/],
  ])('while it enrolls, %s: it enrolls again with the same words', async (moment, step) => {
    const deviceId = `enrolling-${moment.replaceAll(' ', '-')}`;
    const agent = agentOf(deviceId);
    const { joinUrl } = await gateway.addDevice(deviceId);
    const first = new RunningProcess('enroll', agent.argumentsOf('enroll', joinUrl));
    await first.until(String(step), () => first.log.find(({ text }) => step.test(text)));
    await first.kill9();

    await agent.enroll(joinUrl);
    const device = await gateway.device(deviceId);
    expect(device.state).toBe('enrolled');
    // One key, one certificate: what was interrupted was gone on with.
    expect(device.certificates.filter(({ state }) => state !== 'revoked')).toHaveLength(1);
    expect(await agent.status()).toMatchObject({ exitCode: 0, state: 'enrolled' });
    expect((await agent.command(['check'])).code).toBe(0);
  });

  /** What is waited for, after the order, until the kill: an event at the gateway or at the agent itself. */
  const RENEWAL_MOMENTS: [
    string,
    (agent: AgentProcess, marks: { gateway: number; agent: number }) => Promise<unknown>,
  ][] = [
    ['as the order reaches it', async () => {}],
    [
      'as its new certificate is issued',
      (agent, marks) =>
        gateway.logged('certificate issued', { deviceId: agent.deviceId, kind: 'reenroll' }, marks.gateway),
    ],
    [
      'as it shows the new certificate for the first time',
      (agent, marks) => gateway.logged('session opened', { deviceId: agent.deviceId }, marks.gateway),
    ],
    ['as it has switched', (agent, marks) => agent.logged('switched to the new certificate', {}, marks.agent)],
  ];

  test.each(RENEWAL_MOMENTS)(
    'while it renews, %s: it starts again with a working identity, and ends renewed',
    async (moment, until) => {
      const deviceId = `renewing-${moment.replaceAll(' ', '-')}`;
      const agent = agentOf(deviceId);
      await agent.enroll((await gateway.addDevice(deviceId)).joinUrl);
      await agent.connect();
      const before = await agent.certificate();
      await gateway.deviceSoon(deviceId, 'a session', ({ session }) => session !== null);
      const marks = { gateway: gateway.mark(), agent: agent.daemon.mark() };
      const order = await gateway.operator.call<RenewOrdered>('renewDevice', { params: [deviceId], body: {} });
      await until(agent, marks);
      await agent.daemon.kill9();

      // Whatever the moment, what lies there is whole.
      const left = await agent.certificate();
      expect(left.uris).toEqual(before.uris);
      await agent.connect();
      const device = await gateway.deviceSoon(
        deviceId,
        'the order to be done',
        ({ notices, session, certificates }) => {
          const active = certificates.filter(({ state }) => state === 'active');
          const isDone = notices.some(({ id, state }) => id === order.noticeId && state === 'done');
          return isDone && active.length === 1 && session?.serial === active[0]?.serial;
        },
      );
      const after = await agent.certificate();
      expect(device.session?.serial).toBe(after.serial);
      expect(after.serial).not.toBe(before.serial);
      expect(device.certificates.find(({ serial }) => serial === before.serial)?.state).toBe('superseded');
      await agent.stop();
    },
  );

  test('and nothing that was signed is unknown', async () => {
    expect(await signedButUnknown(gateway)).toEqual([]);
  });
});
