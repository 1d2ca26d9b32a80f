import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openAgentState } from '#device-agent/operations/open-agent-state.ts';
import { memoryAgent } from '#test/fixtures/device-agent/memory-agent.ts';
import { RunningDevices } from '#test/fixtures/device-agent/running-devices.ts';
import { TestAuthority } from '#test/fixtures/device-agent/test-authority.ts';
import { TestGateway } from '#test/fixtures/device-agent/test-gateway.ts';

let gateway: TestGateway;
let devices: RunningDevices;
beforeEach(async () => {
  gateway = await TestGateway.start();
  devices = new RunningDevices();
});
afterEach(async () => {
  await devices.stopAll();
  await gateway.stop();
});

const lastState = () => gateway.states().at(-1);
/** Ends waits at once that would otherwise test patience; also the one for an answer, so never where requests count. */
const impatient = () => {
  const { clock } = memoryAgent();
  return { clock: { ...clock, wait: (ms: number, signal?: AbortSignal) => clock.wait(Math.min(ms, 50), signal) } };
};

describe('a running agent', () => {
  test('reports its certificate and next renewal after connecting', async () => {
    const { serial, agent } = await devices.enrolled(gateway);
    expect(lastState()).toMatchObject({
      version: 1,
      connected: true,
      serial,
      proofLevel: 'software',
      agentVersion: '0.1.0',
    });
    expect(lastState()?.['nextRenewalAt']).toBe(agent.status().nextRenewalAt);
    expect(agent.status()).toMatchObject({
      deviceId: 'pump-17',
      state: 'enrolled',
      connected: true,
      certificate: { serial },
    });
  });

  test('comes back after the broker was away, also on another port', async () => {
    await devices.enrolled(gateway, impatient());
    const before = gateway.connects.length;
    await gateway.stopMqtt();
    await gateway.startMqtt(0);
    await gateway.until(() => gateway.connects.length > before);
  });

  test('renews when a notice says so: new key, new session, then the switch', async () => {
    const { deps, serial, events, agent } = await devices.enrolled(gateway);
    const noticeId = gateway.renewNotice(serial);
    await gateway.until(() => gateway.acks(noticeId).includes('done'));
    expect(gateway.acks(noticeId)).toEqual(['received', 'done']);
    await gateway.until(() => lastState()?.['serial'] !== serial);
    const newSerial = lastState()?.['serial'];
    expect(gateway.connects).toEqual([serial, newSerial]);
    expect(gateway.calls.at(-1)).toMatchObject({ operation: 'simplereenroll', peerSerial: serial });
    expect(gateway.calls[0]?.spki).not.toBe(gateway.calls[1]?.spki);
    expect(await deps.store.currentGeneration()).toBe(2);
    expect(events.filter(({ kind }) => kind === 'disconnected')).toEqual([]);
    expect(agent.status()).toMatchObject({ connected: true, certificate: { serial: newSerial } });
  });

  test('keeps one generation behind the current one', async () => {
    const { deps, agent } = await devices.enrolled(gateway);
    for (let round = 1; round <= 3; round += 1) {
      const { newSerial } = await agent.renewNow();
      await gateway.until(() => lastState()?.['serial'] === newSerial);
    }
    await agent.stop();
    expect(await deps.store.listGenerations()).toEqual([3, 4]);
  });

  test('answers a notice for a certificate it no longer has with done, and asks for nothing', async () => {
    await devices.enrolled(gateway);
    const noticeId = gateway.renewNotice('00112233');
    await gateway.until(() => gateway.acks(noticeId).includes('done'));
    expect(gateway.calls).toHaveLength(1);
  });

  test('goes back to the old certificate when the new one is refused three times, and says why', async () => {
    const { deps, serial, agent } = await devices.enrolled(gateway, impatient());
    const issue = gateway.authority.issueDevice.bind(gateway.authority);
    gateway.authority.issueDevice = async (...order) => {
      const issued = await issue(...order);
      gateway.refused.add(issued.serial);
      return issued;
    };
    gateway.decide = () =>
      gateway.calls.length === 2 ? 'issue' : { status: 503, body: 'later', headers: { 'Retry-After': '60' } };
    const noticeId = gateway.renewNotice(serial);
    await gateway.until(() => gateway.acks(noticeId).includes('failed'));
    const refusedSerial = [...gateway.refused][0];
    expect(gateway.connects.filter((connected) => connected === refusedSerial)).toHaveLength(3);
    expect(await deps.store.currentGeneration()).toBe(1);
    expect(agent.status()).toMatchObject({
      connected: true,
      certificate: { serial },
      lastError: { code: 'CANDIDATE_REFUSED' },
    });
    // The gateway hears of it too.
    await gateway.until(() => gateway.states().some((state) => 'rolledBack' in state));
    const told = gateway.states().find((state) => 'rolledBack' in state);
    expect(told).toMatchObject({ serial, rolledBack: { serial: refusedSerial } });
  });

  test('tries a failed renewal again with the same key', async () => {
    const { serial } = await devices.enrolled(gateway);
    gateway.decide = () => (gateway.calls.length === 2 ? 'lose' : 'issue');
    const noticeId = gateway.renewNotice(serial);
    await gateway.until(() => gateway.acks(noticeId).includes('done'));
    expect(gateway.calls.map(({ via }) => via)).toEqual(['est', 'est', 'mqtt']);
    expect(gateway.calls[1]?.spki).toBe(gateway.calls[2]?.spki);
  });

  test('answers failed with the reason when the gateway refuses the renewal', async () => {
    const { serial, deps } = await devices.enrolled(gateway);
    gateway.decide = () => ({ status: 403, body: 'the group wants a TPM' });
    const noticeId = gateway.renewNotice(serial);
    await gateway.until(() => gateway.acks(noticeId).includes('failed'));
    const detail = gateway.published
      .map(({ payload }) => JSON.parse(payload))
      .find((ack) => ack.outcome === 'failed')?.detail;
    expect(detail).toBe('the group wants a TPM');
    expect(await deps.store.listGenerations()).toEqual([1]);
  });

  test('acknowledges a revocation at once, and keeps knocking after CONNACK 5', async () => {
    const { serial, agent } = await devices.enrolled(gateway, impatient());
    gateway.refused.add(serial);
    const noticeId = gateway.sendNotice({
      kind: 'revoked',
      body: { serials: [serial], reason: 'stolen', advice: 'bring it back' },
    });
    await gateway.until(() => gateway.acks(noticeId).length > 0);
    expect(gateway.acks(noticeId)).toEqual(['done']);
    const before = gateway.connects.length;
    gateway.dropSessions();
    await gateway.until(() => gateway.connects.length >= before + 3);
    expect(agent.status()).toMatchObject({ state: 'revoked', connected: false, advice: 'bring it back' });
  });

  test('tells a refusal without a notice apart from a bad network', async () => {
    const { serial, agent, events } = await devices.enrolled(gateway, impatient());
    gateway.refused.add(serial);
    gateway.dropSessions();
    await gateway.until(() => gateway.connects.length >= 3);
    expect(events).toContainEqual({ kind: 'connect-failed', outcome: { kind: 'refused', code: 5 } });
    expect(agent.status().state).toBe('refused');
  });

  test('finishes at the next start what was issued and not yet proven', async () => {
    const { serial, agent, deps } = await devices.enrolled(gateway);
    const issue = gateway.authority.issueDevice.bind(gateway.authority);
    let cutSerial = '';
    gateway.authority.issueDevice = async (...order) => {
      const issued = await issue(...order);
      cutSerial = issued.serial;
      await gateway.stopMqtt();
      return issued;
    };
    const renewing = agent.renewNow().catch((error: unknown) => error);
    await gateway.until(() => gateway.calls.length === 2);
    while (!(await openAgentState(deps)).candidate) await new Promise(setImmediate);
    await agent.stop();
    expect(await renewing).toMatchObject({ code: 'STOPPED' });
    expect((await openAgentState(deps)).identity.certificate.serial).toBe(serial);
    await gateway.startMqtt();
    const connects = gateway.connects.length;
    await devices.start(deps);
    await gateway.until(() => lastState()?.['serial'] === cutSerial);
    expect(gateway.connects.slice(connects)).toEqual([cutSerial]);
    expect(gateway.calls).toHaveLength(2);
    expect(await deps.store.currentGeneration()).toBe(2);
  });

  test('asks the gateway over HTTPS when the broker closes without an answer, and does not give up', async () => {
    const { serial, agent } = await devices.enrolled(gateway, impatient());
    gateway.cut.add(serial);
    gateway.dropSessions();
    await gateway.until(() => gateway.connects.filter((c) => c === `cut:${serial}`).length >= 4);
    expect(agent.status().lastError?.code).toBe('GATEWAY_REFUSED');
    gateway.cut.clear();
    const states = gateway.states().length;
    await gateway.until(() => gateway.states().length > states);
    expect(agent.status().connected).toBe(true);
  });

  test('connects on a device whose clock says 1970, and renews by uptime', async () => {
    const { clock } = memoryAgent();
    const boot = clock.monotonic();
    const { agent, serial } = await devices.enrolled(gateway, {
      clock: { ...clock, now: () => clock.monotonic() - boot },
    });
    const { newSerial } = await agent.renewNow();
    expect(newSerial).not.toBe(serial);
    expect(agent.status().state).toBe('enrolled');
  });

  test('renews a short-lived certificate by its own rule', async () => {
    gateway.lifetime = { life: 2, age: 300 };
    const { serial } = await devices.enrolled(gateway);
    gateway.lifetime = { life: 3600, age: 300 };
    await gateway.until(() => lastState()?.['serial'] !== serial);
  });

  test('runs the hook after the switch and reports how it ended', async () => {
    const given: Record<string, string>[] = [];
    const hook = {
      run: async (facts: Record<string, string>) => {
        given.push(facts);
        return { exitCode: 3, timedOut: false };
      },
    };
    const { agent, serial } = await devices.enrolled(gateway, { hook });
    const { newSerial } = await agent.renewNow();
    await gateway.until(() => lastState()?.['hook'] !== undefined);
    const certificate = { GATEHOUSE_CHANGED: 'certificate', GATEHOUSE_DEVICE_ID: 'pump-17' };
    expect(given).toEqual([{ ...certificate, GATEHOUSE_SERIAL: newSerial, GATEHOUSE_OLD_SERIAL: serial }]);
    expect(lastState()?.['hook']).toMatchObject({ exitCode: 3, timedOut: false });
  });

  test('runs the hook when only the anchors change, and tells it so', async () => {
    const other = await TestAuthority.create();
    const given: Record<string, string>[] = [];
    const hook = {
      run: async (facts: Record<string, string>) => {
        given.push(facts);
        return { exitCode: 0, timedOut: false };
      },
    };
    const { serial, deps } = await devices.enrolled(gateway, { hook });
    const anchors = [gateway.authority.rootDer, other.rootDer];
    const body = { version: 1, anchors: anchors.map((der) => der.toString('base64')), intermediates: [] };
    const noticeId = gateway.sendNotice({ kind: 'trust', body });
    await gateway.until(() => gateway.acks(noticeId).includes('done') && lastState()?.['hook'] !== undefined);
    expect(given).toEqual([{ GATEHOUSE_CHANGED: 'trust', GATEHOUSE_DEVICE_ID: 'pump-17', GATEHOUSE_SERIAL: serial }]);
    expect(await deps.store.readTrust()).toEqual(anchors);
  });

  test('leaves a will, and takes it back when it ends by itself', async () => {
    const { agent } = await devices.enrolled(gateway);
    await agent.stop();
    expect(lastState()).toMatchObject({ connected: true });
    const second = await devices.enrolled(gateway);
    gateway.dropSessions();
    await gateway.until(() =>
      gateway.states().some((state) => state['connected'] === false && state['serial'] === second.serial),
    );
  });
});

describe('local programs', () => {
  test('publish and listen through the session of the agent, over reconnects', async () => {
    const { agent } = await devices.enrolled(gateway);
    const { topic } = await agent.publish('temperature/inside', '21.5');
    expect(topic).toBe('v1/d/pump-17/out/data/temperature/inside');
    await gateway.until(() =>
      gateway.published.some((message) => message.topic === topic && message.payload === '21.5'),
    );
    const heard: string[] = [];
    const [first, second] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const unlisten = await agent.listen('valve/+', (from, payload) => {
      heard.push(`${from} ${payload.toString()}`);
      if (heard.length === 1) first.resolve();
      else second.resolve();
    });
    gateway.send('v1/d/pump-17/in/data/valve/1', 'open');
    await first.promise;
    const states = gateway.states().length;
    agent.reconnect();
    await gateway.until(() => gateway.states().length > states);
    gateway.send('v1/d/pump-17/in/data/other', 'no');
    gateway.send('v1/d/pump-17/in/data/valve/2', 'shut');
    await second.promise;
    expect(heard).toEqual(['v1/d/pump-17/in/data/valve/1 open', 'v1/d/pump-17/in/data/valve/2 shut']);
    unlisten();
  });

  test.each(['a/+/b', 'a/#', '/a', 'a//b', ''])('may not publish on "%s"', async (subtopic) => {
    const { agent } = await devices.enrolled(gateway);
    await expect(agent.publish(subtopic, 'x')).rejects.toMatchObject({ code: 'USAGE' });
  });

  test('may not listen to notices', async () => {
    const { agent } = await devices.enrolled(gateway);
    await expect(agent.listen('v1/d/pump-17/#', () => {})).rejects.toMatchObject({ code: 'USAGE' });
  });
});
