import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { AgentError } from '#device-agent/domain/agent-error.ts';
import { ReportCounter } from '#device-agent/operations/report-counter.ts';
import type { Attester } from '#device-agent/ports/key-provider.ts';
import { silentLog } from '#device-agent/runtime/json-log.ts';
import { systemRandomness } from '#device-agent/runtime/system-randomness.ts';
import { MemoryStateStore } from '#device-agent/state/memory-state-store.ts';
import { parseAgentState, parseNoticeAck } from '#gateway/contract/reports.ts';
import { memoryAgent } from '#test/fixtures/device-agent/memory-agent.ts';
import { RunningDevices } from '#test/fixtures/device-agent/running-devices.ts';
import { TestGateway } from '#test/fixtures/device-agent/test-gateway.ts';

let gateway: TestGateway;
const devices = new RunningDevices();
beforeAll(async () => {
  gateway = await TestGateway.start();
});
afterEach(() => devices.stopAll());
afterAll(() => gateway.stop());

const counts = (from = 0) =>
  gateway
    .states()
    .slice(from)
    .filter((state) => state['connected'] === true);

const proof = { attest: Buffer.from('a'), signature: Buffer.from('s'), publicArea: Buffer.from('p') };
/** An enrolled device, started again with a TPM that answers like this. */
async function startWithTpm(certify: Attester['certify']): Promise<void> {
  const { clock } = memoryAgent();
  const { deps } = await devices.enrolled(gateway);
  await devices.stopAll();
  const attester = {
    identify: () => Promise.reject(new Error('not asked')),
    activate: () => Promise.reject(new Error('not asked')),
    certify,
  };
  const reports = gateway.states().length;
  const hasty = { ...clock, wait: (ms: number, signal?: AbortSignal) => clock.wait(Math.min(ms, 10), signal) };
  await devices.start({ ...deps, clock: hasty, keys: { ...deps.keys, attester } });
  await gateway.until(() => gateway.states().length > reports);
}

describe('reports of an agent', () => {
  test('are counted over its restarts, and name the run that they come from', async () => {
    const { deps, agent } = await devices.enrolled(gateway, { randomness: systemRandomness });
    agent.reconnect();
    await gateway.until(() => counts().length >= 2);
    await agent.stop();
    const before = counts();
    await devices.start(deps);
    await gateway.until(() => counts().length > before.length);
    const reports = counts().map((state) => parseAgentState(state));
    const numbers = reports.map((report) => report?.count ?? Number.NaN);
    expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
    expect(new Set(numbers).size).toBe(numbers.length);
    expect(new Set(reports.map((report) => report?.run)).size).toBe(2);
    expect(reports[0]?.run).toMatch(/^[0-9a-f]{16}$/);
  });

  test('go without a count when the disk does not take it: one that is forgotten would look like that of a copy', async () => {
    const store = new MemoryStateStore();
    const counter = await ReportCounter.open({
      store,
      log: silentLog,
      randomness: systemRandomness,
    });
    expect(await counter.next()).toBe(1);
    const write = store.writeRecord.bind(store);
    store.writeRecord = () => Promise.reject(new Error('no space left'));
    expect(await counter.next()).toBeUndefined();
    store.writeRecord = write;
    expect(await counter.next()).toBe(2);
  });

  test.each([undefined, {}, { version: 2, count: 5 }, { version: 1, count: -1 }, { version: 1, count: 'x' }])(
    'begin at one when nothing usable was kept: %j',
    async (kept) => {
      const store = new MemoryStateStore();
      if (kept !== undefined) await store.writeRecord('reports', kept);
      const deps = { store, log: silentLog, randomness: systemRandomness };
      expect(await (await ReportCounter.open(deps)).next()).toBe(1);
    },
  );
});

describe('a device in quarantine', () => {
  test('says so in its status, and takes no telemetry from its programs, until it is told that it is over', async () => {
    const { agent, serial } = await devices.enrolled(gateway);
    const told = gateway.sendNotice({ kind: 'quarantine', body: { active: true, reason: 'two places' } });
    await gateway.until(() => gateway.acks(told).includes('done'));
    expect(agent.status()).toMatchObject({
      state: 'quarantined',
      connected: true,
      certificate: { serial },
      advice: expect.stringContaining('gatehouse alarm list'),
    });
    await expect(agent.publish('temperature', '21')).rejects.toMatchObject({ code: 'GATEWAY_REFUSED' });

    const over = gateway.sendNotice({ kind: 'quarantine', body: { active: false, reason: 'no copy' } });
    await gateway.until(() => gateway.acks(over).includes('done'));
    expect(agent.status().state).toBe('enrolled');
    await expect(agent.publish('temperature', '21')).resolves.toMatchObject({ topic: expect.any(String) });
  });

  test('remembers it over a restart', async () => {
    const { agent, deps } = await devices.enrolled(gateway);
    const told = gateway.sendNotice({ kind: 'quarantine', body: { active: true, reason: 'two places' } });
    await gateway.until(() => gateway.acks(told).includes('done'));
    await agent.stop();
    const again = await devices.start(deps);
    expect(again.agent.status().state).toBe('quarantined');
  });

  test('without a TPM says that it cannot prove its key', async () => {
    await devices.enrolled(gateway);
    const asked = gateway.sendNotice({ kind: 'attest', body: { nonce: 'A'.repeat(43), reason: 'two places' } });
    await gateway.until(() => gateway.acks(asked).includes('failed'));
  });

  test('with a TPM that fails at first asks it again, and says nothing before', async () => {
    let tries = 0;
    await startWithTpm(async () => {
      tries += 1;
      if (tries < 4) throw new AgentError('TPM_UNUSABLE', 'the TPM is busy');
      return proof;
    });
    const challenge = { kind: 'attest', body: { nonce: 'C'.repeat(43), reason: 'two places' } } as const;
    const asked = gateway.sendNotice(challenge, { seq: 5000 });
    // A session made anew brings it again; that is no second try beside the first.
    gateway.resend(asked);
    await gateway.until(() => gateway.acks(asked).includes('done'));
    expect(gateway.acks(asked)).not.toContain('failed');
    expect(tries).toBe(4);
  });

  test('with a TPM that fails to the end of the challenge says so then', async () => {
    await startWithTpm(() => Promise.reject(new AgentError('TPM_UNUSABLE', 'the TPM is gone')));
    const challenge = { kind: 'attest', body: { nonce: 'D'.repeat(43), reason: 'two places' } } as const;
    const asked = gateway.sendNotice(challenge, { seq: 5000, expiresAt: Date.now() + 1500 });
    await gateway.until(() => gateway.acks(asked).includes('failed'));
  });

  test('with a TPM proves it bound to the nonce, again when it is asked again', async () => {
    const certified: { pem: string; qualifyingData: Buffer }[] = [];
    await startWithTpm(async (pem, qualifyingData) => {
      certified.push({ pem, qualifyingData });
      return proof;
    });
    const { id, jws } = gateway.formatNotice(
      { kind: 'attest', body: { nonce: 'B'.repeat(43), reason: 'two places' } },
      { seq: 5000 },
    );
    for (const times of [1, 2]) {
      gateway.send('v1/d/pump-17/in/notice', jws);
      await gateway.until(() => gateway.acks(id).filter((outcome) => outcome === 'done').length === times);
    }
    expect(certified).toHaveLength(2);
    expect(certified[0]?.qualifyingData).toHaveLength(32);
    expect(certified[0]?.pem).toContain('PRIVATE KEY');
    const ack = gateway.published.findLast(({ topic }) => topic.endsWith('/out/ack'));
    expect(parseNoticeAck(JSON.parse(String(ack?.payload)))).toMatchObject({
      evidence: { attest: 'YQ==', signature: 'cw==', publicArea: 'cA==' },
    });
  });
});

describe('what a device says, read by the gateway', () => {
  const known = { connected: true, serial: '01', agentVersion: '1' };

  test.each([
    [{ run: 'not hex', count: 1 }, { count: 1 }],
    [{ run: 'a'.repeat(16), count: 1.5 }, { run: 'a'.repeat(16) }],
    [{ run: 'a'.repeat(17), count: -1 }, {}],
    [{ run: 1, count: '1' }, {}],
  ])('of %j is left what makes sense', (told, left) => {
    expect(parseAgentState({ version: 1, ...known, ...told })).toEqual({ ...known, ...left });
  });

  test.each([
    ['what is not base64', { attest: 'x y', signature: 'cw==', publicArea: 'cA==' }],
    ['what is too long', { attest: 'A'.repeat(5000), signature: 'cw==', publicArea: 'cA==' }],
    ['a part of it', { attest: 'YQ==' }],
    ['a string', 'YQ=='],
  ])('%s is no evidence', (_, evidence) => {
    expect(parseNoticeAck({ noticeId: 'n', outcome: 'done', evidence })).toEqual({ noticeId: 'n', outcome: 'done' });
  });
});
