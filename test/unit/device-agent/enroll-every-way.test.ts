import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parseCertificate } from '#ca/pkix/certificate.ts';
import { spkiSha256 } from '#ca/pkix/public-key.ts';
import { AgentError } from '#device-agent/domain/agent-error.ts';
import { describeStatus } from '#device-agent/operations/describe-status.ts';
import { type EnrollProgress, enrollDevice } from '#device-agent/operations/enroll-device.ts';
import type { Grounds } from '#device-agent/operations/enroll-order.ts';
import type { AgentDeps } from '#device-agent/operations/running-agent.ts';
import { memoryAgent, quiet, recordSteps } from '#test/fixtures/device-agent/memory-agent.ts';
import { type EstVerdict, TestGateway } from '#test/fixtures/device-agent/test-gateway.ts';
import { claimOf, makerOf } from '#test/fixtures/device-agent/ways-to-enroll.ts';

let gateway: TestGateway;
beforeEach(async () => {
  gateway = await TestGateway.start();
});
afterEach(() => gateway.stop());

const PENDING: EstVerdict = {
  status: 202,
  body: 'APPROVAL_PENDING: a person decides',
  headers: { 'Retry-After': '7' },
};

function enroll(
  deps: AgentDeps,
  grounds: Grounds,
  { progress = quiet, signal, label }: { progress?: EnrollProgress; signal?: AbortSignal; label?: string } = {},
) {
  const order = { ...grounds, keyKind: 'ec-p256', confirm: true, replace: false } as const;
  return enrollDevice(deps, { ...order, ...(label === undefined ? {} : { label }) }, progress, signal);
}

async function refusalOf(work: Promise<unknown>): Promise<AgentError> {
  try {
    await work;
  } catch (error) {
    if (error instanceof AgentError) return error;
    throw error;
  }
  throw new Error('it was not refused');
}

/** Waits as long as is asked for, without the time. */
function patient(waits: number[] = [], fraction = 0): AgentDeps {
  const deps = memoryAgent({ randomness: memoryAgentRandomness(fraction) });
  return { ...deps, clock: { ...deps.clock, wait: waitFor(waits, deps) } };
}

/** Long waits for answers must not end before the answers come. */
function waitFor(waits: number[], { clock }: AgentDeps): AgentDeps['clock']['wait'] {
  return (ms, signal) => {
    if (ms >= 20_000) return clock.wait(ms, signal);
    waits.push(ms);
    return clock.wait(Math.min(ms, 5), signal);
  };
}

let drawn = 0;
function memoryAgentRandomness(fraction: number) {
  return {
    fraction: () => fraction,
    bytes: (count: number) => {
      drawn += 1;
      return Buffer.alloc(count, drawn);
    },
  };
}

async function storedLeaf({ store }: AgentDeps) {
  const stored = await store.readGeneration((await store.currentGeneration()) ?? 0);
  return { meta: stored?.meta, chain: (stored?.certificates ?? []).map((der) => parseCertificate(der)) };
}

describe('enroll with a claim over MQTT', () => {
  test('goes by the enrolment topics to a session with the new identity', async () => {
    const deps = memoryAgent();
    const steps = recordSteps();
    const attempts: string[] = [];
    const claim = await claimOf(gateway);
    const progress = { ...steps, onAttempt: (id: string) => void attempts.push(id) };
    const enrolled = await enroll(deps, { claim }, { progress });
    expect(steps.done).toEqual(['reach', 'key', 'certificate', 'store', 'confirm']);
    expect(gateway.calls).toMatchObject([{ via: 'mqtt', operation: 'simpleenroll', attemptId: attempts[0] }]);
    expect(attempts).toEqual([enrolled.attemptId]);
    expect(gateway.enrolling).toEqual(['pump-17']);
    expect(gateway.connects.at(-1)).toBe(enrolled.serial);
    expect((await storedLeaf(deps)).chain.map(({ isCa }) => isCa)).toEqual([false, true]);
    expect(await deps.store.readTrust()).toEqual([gateway.authority.rootDer]);
    expect(await deps.store.readRecord('agent')).toMatchObject({
      deviceId: 'pump-17',
      trustDomain: 'test.example',
      est: claim.est,
      mqtt: claim.mqtt,
      renewVia: 'auto',
    });
  });

  test('asks again under the same name and with the same key after a lost answer and a restart', async () => {
    const deps = patient();
    const claim = await claimOf(gateway);
    gateway.decide = () => 'lose';
    const stop = new AbortController();
    const error = await refusalOf(
      enroll(deps, { claim }, { progress: { ...quiet, onTrouble: () => stop.abort() }, signal: stop.signal }),
    );
    expect(error.code).toBe('STOPPED');
    gateway.decide = () => 'issue';
    await enroll(deps, { claim });
    expect(gateway.calls.length).toBeGreaterThan(1);
    expect(new Set(gateway.calls.map(({ spki }) => spki)).size).toBe(1);
    expect(new Set(gateway.calls.map(({ attemptId }) => attemptId)).size).toBe(1);
  });

  test('makes a new session when the one before is cut, without being started again', async () => {
    let asked = 0;
    gateway.decide = () => {
      asked += 1;
      return asked < 3 ? 'lose' : 'issue';
    };
    const trouble: string[] = [];
    const progress = { ...quiet, onTrouble: ({ code }: AgentError) => void trouble.push(code) };
    await enroll(patient(), { claim: await claimOf(gateway) }, { progress });
    expect(trouble).toEqual(['GATEWAY_UNREACHABLE', 'GATEWAY_UNREACHABLE']);
    expect(gateway.enrolling).toHaveLength(3);
  });

  test('ends with the reason, the attempt and nothing stored when it is refused', async () => {
    gateway.decide = () => ({ status: 403, body: 'DEVICE_NOT_ALLOWED: the device is quarantined' });
    const deps = memoryAgent();
    const error = await refusalOf(enroll(deps, { claim: await claimOf(gateway) }));
    expect(error).toMatchObject({
      code: 'GATEWAY_REFUSED',
      message: 'DEVICE_NOT_ALLOWED: the device is quarantined',
      attemptId: gateway.calls[0]?.attemptId,
    });
    expect(gateway.calls).toHaveLength(1);
    expect(await deps.store.currentGeneration()).toBeUndefined();
    expect(await deps.store.readRecord('status')).toMatchObject({
      lastAttempt: { id: error.attemptId, outcome: 'refused', via: 'mqtt' },
    });
  });

  test('names a new attempt after a refusal', async () => {
    const deps = patient();
    const claim = await claimOf(gateway);
    gateway.decide = () => ({ status: 403, body: 'OUTSIDE_HOURS: come back on Monday' });
    await refusalOf(enroll(deps, { claim }));
    gateway.decide = () => 'issue';
    await enroll(deps, { claim });
    const [first, second] = gateway.calls;
    expect(second?.spki).toBe(first?.spki);
    expect(second?.attemptId).not.toBe(first?.attemptId);
  });

  test('comes back later when the gateway is busy, after as long as it asks for and a draw', async () => {
    let asked = 0;
    gateway.decide = () => {
      asked += 1;
      return asked === 1 ? { status: 503, body: 'OVERLOADED: too much', headers: { 'Retry-After': '3' } } : 'issue';
    };
    const waits: number[] = [];
    await enroll(patient(waits, 0.5), { claim: await claimOf(gateway) });
    expect(waits).toContain(3500);
  });

  test('says what to do when the claim is not let in', async () => {
    const claim = await claimOf(gateway);
    gateway.refused.add(parseCertificate(pemToDer(claim.certificates)).serial);
    const error = await refusalOf(enroll(memoryAgent(), { claim }));
    expect(error).toMatchObject({ code: 'GATEWAY_REFUSED', advice: expect.stringContaining('gatehouse ticket claim') });
  });

  test('does not speak to a broker of another root', async () => {
    const other = await TestGateway.start();
    try {
      const claim = { ...(await claimOf(gateway)), mqtt: { host: '127.0.0.1', port: other.mqttPort } };
      expect((await refusalOf(enroll(memoryAgent(), { claim }))).code).toBe('GATEWAY_UNTRUSTED');
      expect(other.published).toEqual([]);
    } finally {
      await other.stop();
    }
  });

  test('is done at once when the same device is enrolled already', async () => {
    const deps = memoryAgent();
    const claim = await claimOf(gateway);
    const { serial } = await enroll(deps, { claim });
    expect(await enroll(deps, { claim })).toMatchObject({ serial, attemptId: undefined });
    expect(gateway.calls).toHaveLength(1);
  });
});

describe('while a person has to approve', () => {
  test.each(['est', 'mqtt'] as const)('over %s it waits, shows the key, and its status does too', async (via) => {
    const deps = patient();
    const shown: string[] = [];
    const stop = new AbortController();
    gateway.decide = () => PENDING;
    const grounds = via === 'est' ? { join: gateway.join } : { claim: await claimOf(gateway) };
    const error = await refusalOf(
      enroll(deps, grounds, {
        signal: stop.signal,
        progress: {
          ...quiet,
          onPending: ({ attemptId, keyFingerprint, retryAfterMs }) => {
            shown.push(attemptId, keyFingerprint, String(retryAfterMs));
            stop.abort();
          },
        },
      }),
    );
    expect(error.code).toBe('STOPPED');
    const [number = 0] = await deps.store.listGenerations();
    const key = deps.keys.load((await deps.store.readGeneration(number))?.key ?? '');
    const sha256 = spkiSha256(key.publicKey);
    const keyFingerprint = [0, 4, 8, 12].map((at) => sha256.slice(at, at + 4)).join(' ');
    expect(shown).toEqual([gateway.calls[0]?.attemptId, keyFingerprint, '7000']);
    const status = await describeStatus(deps);
    expect(status).toMatchObject({
      state: 'not-enrolled',
      deviceId: 'pump-17',
      waiting: { attemptId: gateway.calls[0]?.attemptId, keyFingerprint, via },
      lastAttempt: { outcome: 'pending' },
      advice: expect.stringContaining('gatehouse enrollment list'),
    });

    // Started again after the approval: the same key, the same attempt.
    gateway.decide = () => 'issue';
    await enroll(deps, grounds);
    expect(new Set(gateway.calls.map(({ spki, attemptId }) => spki + attemptId)).size).toBe(1);
    expect(await describeStatus(deps)).toMatchObject({ state: 'enrolled', waiting: null });
  });

  test('it asks at once when the gateway tells that somebody has decided', async () => {
    const deps = memoryAgent();
    gateway.decide = () => ({ status: 202, body: 'APPROVAL_PENDING: wait', headers: { 'Retry-After': '3600' } });
    const progress = {
      ...quiet,
      onPending: ({ attemptId }: { attemptId: string }) => {
        gateway.decide = () => 'issue';
        const news = { version: 1, requestId: attemptId, attemptId, status: 200, code: 'ISSUED', detail: '' };
        gateway.send('v1/enroll/pump-17/in/certificate', JSON.stringify({ ...news, transient: false }));
      },
    };
    await enroll(deps, { claim: await claimOf(gateway) }, { progress });
    expect(gateway.calls).toHaveLength(2);
  });

  test('a gateway that is away for a while does not end the waiting', async () => {
    const deps = patient();
    gateway.decide = () => PENDING;
    const trouble: string[] = [];
    const progress = {
      ...quiet,
      onPending: () => void gateway.stopEst(),
      onTrouble: ({ code }: AgentError) => {
        trouble.push(code);
        gateway.decide = () => 'issue';
        if (trouble.length === 8) void gateway.startEst();
      },
    };
    await enroll(deps, { join: gateway.join }, { progress });
    expect(trouble.length).toBeGreaterThanOrEqual(8);
    expect(new Set(trouble)).toEqual(new Set(['GATEWAY_UNREACHABLE']));
  });

  test('a refusal by that person ends it', async () => {
    const deps = patient();
    gateway.decide = () => PENDING;
    const progress = {
      ...quiet,
      onPending: () => {
        gateway.decide = () => ({ status: 403, body: 'APPROVAL_REFUSED: not ours' });
      },
    };
    const error = await refusalOf(enroll(deps, { claim: await claimOf(gateway) }, { progress }));
    expect(error).toMatchObject({ code: 'GATEWAY_REFUSED', message: 'APPROVAL_REFUSED: not ours' });
    expect(await describeStatus(deps)).toMatchObject({ waiting: null });
  });
});

describe('enroll with the certificate of the maker', () => {
  test.each(['est', 'mqtt'] as const)('over %s, by the serial number that stands in it', async (via) => {
    const { way, certificatePem } = await makerOf(gateway, 'pump-17');
    const deps = memoryAgent();
    const steps = recordSteps();
    const { deviceId, serial } = await enroll(deps, { manufacturer: way(via) }, { progress: steps });
    expect(deviceId).toBe('pump-17');
    expect(steps.done[0]).toBe(via === 'est' ? 'directory' : 'reach');
    const peerSerial = parseCertificate(pemToDer(certificatePem)).serial;
    expect(gateway.calls).toMatchObject([{ via, operation: 'simpleenroll', peerSerial, ticket: undefined }]);
    expect(gateway.connects.at(-1)).toBe(serial);
    expect(await deps.store.readRecord('agent')).toMatchObject({ deviceId: 'pump-17', trustDomain: 'test.example' });
  });

  test('takes the name that the gateway has for it, when it was told none', async () => {
    const { way } = await makerOf(gateway, 'SN-0815');
    const deps = memoryAgent();
    const { deviceId } = await enroll(deps, { manufacturer: way('est') });
    expect(deviceId).toBe('pump-17');
    expect(await deps.store.readRecord('agent')).toMatchObject({ deviceId: 'pump-17' });
    // The next time it is known, whatever the serial number is.
    expect(await enroll(deps, { manufacturer: way('est') })).toMatchObject({ attemptId: undefined });
  });

  test('takes no other name than the one it was told', async () => {
    const { way } = await makerOf(gateway, 'SN-0815');
    const manufacturer = { ...way('est'), deviceId: 'pump-18' as never };
    expect((await refusalOf(enroll(memoryAgent(), { manufacturer }))).code).toBe('ANSWER_UNFIT');
  });

  test('finds the root by its fingerprint at EST, also for MQTT, where nothing is done before it is found', async () => {
    const { way } = await makerOf(gateway, 'pump-17');
    const root = { sha256: gateway.rootSha256 };
    const steps = recordSteps();
    await enroll(memoryAgent(), { manufacturer: { ...way('est'), root } }, { progress: steps });
    expect(steps.done.slice(0, 3)).toEqual(['reach', 'verify', 'directory']);
    const est = { host: '127.0.0.1', port: gateway.estPort };
    const overMqtt = recordSteps();
    await enroll(memoryAgent(), { manufacturer: { ...way('mqtt'), est, root } }, { progress: overMqtt });
    expect(overMqtt.done.slice(0, 4)).toEqual(['reach', 'verify', 'connect', 'key']);
    const asked = gateway.calls.length;
    for (const [manufacturer, refusal] of [
      [{ ...way('mqtt'), est, root: { sha256: '0'.repeat(64) } }, { code: 'GATEWAY_UNTRUSTED' }],
      [
        { ...way('mqtt'), est: { host: '127.0.0.1', port: 9 }, root },
        { code: 'GATEWAY_UNREACHABLE', advice: expect.stringContaining('--root FILE') },
      ],
    ] as const) {
      const steps = recordSteps();
      expect(await refusalOf(enroll(memoryAgent(), { manufacturer }, { progress: steps }))).toMatchObject(refusal);
      expect(steps.done).not.toContain('connect');
    }
    expect(gateway.calls).toHaveLength(asked);
  });

  test('wants a name when its certificate has no serial number', async () => {
    const { way } = await makerOf(gateway);
    const error = await refusalOf(enroll(memoryAgent(), { manufacturer: way('est') }));
    expect(error).toMatchObject({ code: 'USAGE', advice: expect.stringContaining('--device-id') });
  });

  test('shows nothing to a gateway of another root', async () => {
    const { way } = await makerOf(gateway, 'pump-17');
    const other = await TestGateway.start();
    try {
      const manufacturer = { ...way('est'), root: other.authority.rootDer };
      expect((await refusalOf(enroll(memoryAgent(), { manufacturer }))).code).toBe('GATEWAY_UNTRUSTED');
      expect(gateway.calls).toEqual([]);
    } finally {
      await other.stop();
    }
  });
});

describe('a CSR is bound to its connection', () => {
  test('when the CSR attributes ask for it', async () => {
    gateway.tellsBinding = true;
    gateway.requiresBinding = true;
    const deps = memoryAgent();
    await enroll(deps, { join: gateway.join });
    expect(gateway.calls).toMatchObject([{ binding: 'right' }]);
    expect((await storedLeaf(deps)).meta).toMatchObject({ wasBound: true });
  });

  test.each(['est', 'mqtt'] as const)('over %s when a refusal asks for it, as another attempt', async (via) => {
    gateway.requiresBinding = true;
    const grounds = via === 'est' ? { join: gateway.join } : { claim: await claimOf(gateway) };
    const attempts: string[] = [];
    const progress = { ...quiet, onAttempt: (id: string) => void attempts.push(id) };
    await enroll(patient(), grounds, { progress });
    expect(gateway.calls).toMatchObject([
      { binding: 'none', attemptId: attempts[0] },
      { binding: 'right', attemptId: attempts[1] },
    ]);
    expect(new Set(attempts).size).toBe(2);
  });

  test('and each time it is asked again, over a connection of its own', async () => {
    gateway.tellsBinding = true;
    let asked = 0;
    gateway.decide = () => {
      asked += 1;
      return asked < 3 ? PENDING : 'issue';
    };
    await enroll(patient(), { join: gateway.join });
    expect(gateway.calls.map(({ binding }) => binding)).toEqual(['right', 'right', 'right']);
  });

  test.each(['est', 'mqtt'] as const)('over %s in TLS 1.2 too, by tls-unique', async (via) => {
    gateway.newestTls = 'TLSv1.2';
    gateway.requiresBinding = true;
    await gateway.stop();
    await gateway.startEst();
    await gateway.startMqtt();
    await enroll(patient(), via === 'est' ? { join: gateway.join } : { claim: await claimOf(gateway) });
    expect(gateway.calls.at(-1)).toMatchObject({ via, binding: 'right' });
  });

  test('but not when nobody asks', async () => {
    await enroll(memoryAgent(), { join: gateway.join });
    expect(gateway.calls).toMatchObject([{ binding: 'none', label: undefined }]);
  });
});

test('a label stands in the path', async () => {
  await enroll(memoryAgent(), { join: gateway.join }, { label: 'pumps' });
  expect(gateway.calls).toMatchObject([{ label: 'pumps', operation: 'simpleenroll' }]);
});

test('over MQTT it stands in the message', async () => {
  await enroll(memoryAgent(), { claim: await claimOf(gateway) }, { label: 'pumps' });
  expect(gateway.calls).toMatchObject([{ via: 'mqtt', label: 'pumps', operation: 'simpleenroll' }]);
});

function pemToDer(pem: string): Buffer {
  return Buffer.from(/-----BEGIN CERTIFICATE-----([^-]+)/.exec(pem)?.[1] ?? '', 'base64');
}
