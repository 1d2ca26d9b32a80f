import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parseCertificate } from '#ca/pkix/certificate.ts';
import { AgentError } from '#device-agent/domain/agent-error.ts';
import { enrollDevice } from '#device-agent/operations/enroll-device.ts';
import { enroll, memoryAgent, recordSteps } from '#test/fixtures/device-agent/memory-agent.ts';
import { TestGateway } from '#test/fixtures/device-agent/test-gateway.ts';

let gateway: TestGateway;
beforeEach(async () => {
  gateway = await TestGateway.start();
});
afterEach(() => gateway.stop());

async function refusalOf(work: Promise<unknown>): Promise<AgentError> {
  try {
    await work;
  } catch (error) {
    if (error instanceof AgentError) return error;
    throw error;
  }
  throw new Error('it was not refused');
}

describe('enroll', () => {
  test('goes from a join URL to a confirmed identity, step by step', async () => {
    const deps = memoryAgent();
    const steps = recordSteps();
    const enrolled = await enrollDevice(
      deps,
      { join: gateway.join, keyKind: 'ec-p256', confirm: true, replace: false },
      steps,
    );
    expect(steps.done).toEqual(['reach', 'verify', 'directory', 'key', 'certificate', 'store', 'confirm']);
    expect(enrolled.deviceId).toBe('pump-17');
    expect(enrolled.attemptId).toMatch(/^a-[0-9a-f]{16}$/);
    expect(gateway.calls[0]).toMatchObject({
      operation: 'simpleenroll',
      deviceId: 'pump-17',
      ticket: 'T1CKET',
      attemptId: enrolled.attemptId,
    });
    expect(gateway.connects).toEqual([enrolled.serial]);
    const stored = await deps.store.readGeneration((await deps.store.currentGeneration()) ?? 0);
    expect(stored?.certificates.map((der) => parseCertificate(der).isCa)).toEqual([false, true]);
    expect(await deps.store.readTrust()).toEqual([gateway.authority.rootDer]);
  });

  test.each(['ec-p384', 'ed25519', 'rsa-2048'] as const)(
    'makes a key of kind %s that works in TLS',
    async (keyKind) => {
      const deps = memoryAgent();
      const { serial } = await enroll(deps, gateway, { keyKind });
      expect(gateway.connects).toEqual([serial]);
    },
  );

  test('sends no ticket to a gateway that lacks the pinned root', async () => {
    const deps = memoryAgent();
    const error = await refusalOf(enroll(deps, gateway, { join: { ...gateway.join, rootSha256: '0'.repeat(64) } }));
    expect(error.code).toBe('GATEWAY_UNTRUSTED');
    expect(gateway.calls).toEqual([]);
    expect(await deps.store.listGenerations()).toEqual([]);
  });

  test('shows the reason and the attempt id of a refusal', async () => {
    gateway.decide = () => ({ status: 401, body: 'ticket\n unknown\u001b[31m' });
    const error = await refusalOf(enroll(memoryAgent(), gateway));
    expect(error.code).toBe('GATEWAY_REFUSED');
    expect(error.message).toBe('ticket unknown [31m');
    expect(error.attemptId).toBe(gateway.calls[0]?.attemptId);
  });

  test('asks again with the same key after a lost answer and gets the same certificate', async () => {
    const deps = memoryAgent();
    gateway.decide = () => 'lose';
    expect((await refusalOf(enroll(deps, gateway))).code).toBe('GATEWAY_UNREACHABLE');
    gateway.decide = () => 'issue';
    await enroll(deps, gateway);
    const [first, second] = gateway.calls;
    expect(second?.spki).toBe(first?.spki);
    expect(await deps.store.listGenerations()).toHaveLength(1);
  });

  test('waits as long as a 202 says and asks again with the same key', async () => {
    let asked = 0;
    gateway.decide = () => {
      asked += 1;
      return asked === 1 ? { status: 202, body: '', headers: { 'Retry-After': '7' } } : 'issue';
    };
    const waits: number[] = [];
    const deps = memoryAgent();
    const clock = { ...deps.clock, wait: async (ms: number) => void waits.push(ms) };
    await enroll({ ...deps, clock }, gateway);
    expect(waits).toEqual([7000]);
    expect(new Set(gateway.calls.map(({ spki }) => spki)).size).toBe(1);
  });

  test('is done at once when the same device is enrolled already', async () => {
    const deps = memoryAgent();
    const first = await enroll(deps, gateway);
    const second = await enroll(deps, gateway);
    expect(second).toMatchObject({ serial: first.serial, attemptId: undefined });
    expect(gateway.calls).toHaveLength(1);
  });

  test('does not put another device into an enrolled folder', async () => {
    const deps = memoryAgent();
    await enroll(deps, gateway);
    const other = { ...gateway.join, deviceId: 'pump-18' as typeof gateway.join.deviceId };
    expect((await refusalOf(enroll(deps, gateway, { join: other }))).code).toBe('ALREADY_ENROLLED');
  });

  test('replaces an identity of the same device only when told', async () => {
    gateway.lifetime = { life: -10, age: 3600 };
    const deps = memoryAgent({ clock: { ...memoryAgent().clock, now: () => Date.now() - 1800_000 } });
    await enroll(deps, gateway, { confirm: false });
    const expired = { ...deps, clock: memoryAgent().clock };
    gateway.lifetime = { life: 3600, age: 60 };
    const error = await refusalOf(enroll(expired, gateway));
    expect(error).toMatchObject({ code: 'ALREADY_ENROLLED', message: expect.stringContaining('expired') });
    const replaced = await enroll(expired, gateway, { replace: true });
    expect(gateway.connects.at(-1)).toBe(replaced.serial);
  });

  test('keeps the identity when the broker refuses, and says so', async () => {
    const deps = memoryAgent({ clock: { ...memoryAgent().clock, wait: async () => {} } });
    await gateway.stopMqtt();
    expect((await refusalOf(enroll(deps, gateway))).code).toBe('GATEWAY_UNREACHABLE');
    await gateway.startMqtt();
    const again = await enroll(deps, gateway);
    expect(again.attemptId).toBeUndefined();
    expect(gateway.connects).toEqual([again.serial]);
  });

  test('enrolls on a device whose clock says 1970', async () => {
    const deps = memoryAgent();
    const boot = deps.clock.monotonic();
    const clock = { ...deps.clock, now: () => deps.clock.monotonic() - boot };
    const { serial } = await enroll({ ...deps, clock }, gateway);
    expect(gateway.connects).toEqual([serial]);
  });

  test('takes the certificate for its key, wherever it stands in the answer', async () => {
    const { der } = await gateway.authority.issueClaim('pump-17');
    gateway.alongside.push(gateway.authority.rootDer, der, gateway.authority.intermediateDer);
    const deps = memoryAgent();
    const { serial } = await enroll(deps, gateway);
    expect(gateway.connects).toEqual([serial]);
    const stored = await deps.store.readGeneration((await deps.store.currentGeneration()) ?? 0);
    expect(stored?.certificates.map((one) => parseCertificate(one).isCa)).toEqual([false, true]);
  });

  test('answers no 401: it asks once, and says what it was told', async () => {
    const headers = { 'WWW-Authenticate': 'Digest realm="x", nonce="y"' };
    gateway.decide = () => ({ status: 401, body: 'TICKET_UNKNOWN: no such ticket', headers });
    expect((await refusalOf(enroll(memoryAgent(), gateway))).code).toBe('GATEWAY_REFUSED');
    expect(gateway.calls).toHaveLength(1);
  });

  test('does not take a certificate for another name', async () => {
    const deps = memoryAgent();
    const issue = gateway.authority.issueDevice.bind(gateway.authority);
    gateway.authority.issueDevice = (key, _deviceId, seconds) => issue(key, 'pump-99', seconds);
    expect((await refusalOf(enroll(deps, gateway))).code).toBe('ANSWER_UNFIT');
    expect(await deps.store.currentGeneration()).toBeUndefined();
  });
});
