import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { EnrollmentRequestSummary } from '#gateway/contract/operator-api.ts';
import { STATUS_PATHS } from '#gateway/contract/status-paths.ts';
import { FLEET_TOPICS } from '#gateway/contract/topics.ts';
import { createSimulatedMaker } from '#simulators/tpm/simulated-maker.ts';
import { createSimulatedTpm } from '#simulators/tpm/simulated-tpm.ts';
import { createSimulatedTpmKeys } from '#simulators/tpm/simulated-tpm-keys.ts';
import { type AsyncApi, AsyncApiDocument } from '#test/fixtures/mqtt/asyncapi-document.ts';
import { claimFor } from '#test/fixtures/processes/agent-detours.ts';
import { eventually } from '#test/fixtures/processes/eventually.ts';
import { type GatewayProcess, startGateway } from '#test/fixtures/processes/gateway-process.ts';
import { RecordedDevice } from '#test/fixtures/processes/recorded-device.ts';

const PATIENCE = { patienceMs: 40_000 };

/** Everything that real devices and a real gateway say to each other, held against the document that the gateway serves. */
describe('the MQTT contract', () => {
  let gateway: GatewayProcess;
  let described: AsyncApiDocument;
  let press: RecordedDevice;
  let pump: RecordedDevice;
  let valve: RecordedDevice;
  beforeAll(async () => {
    gateway = await startGateway({ staysReachable: true });
    const response = await fetch(new URL(STATUS_PATHS.mqttContract, gateway.ready.status.url));
    expect(response.headers.get('content-type')).toBe('application/json');
    described = new AsyncApiDocument(await response.json());
    const maker = createSimulatedMaker();
    await gateway.operator.call('addTpmRoot', {
      body: { certificate: maker.rootCertificate.toString('base64'), note: 'simulated' },
    });
    await gateway.addGroup('careful', { approval: 'manual' });
    await gateway.addGroup('attested', { proof: 'tpm-endorsed' });
    await gateway.addGroup('picky', { keys: ['rsa-3072'] });
    press = new RecordedDevice('press-1');
    valve = new RecordedDevice('valve-1');
    pump = new RecordedDevice('pump-1', createSimulatedTpmKeys(createSimulatedTpm(maker), [maker.issuerCertificate]));
    await gateway.addDevice('press-1', 'careful');
    await gateway.addDevice('pump-1', 'attested');
    await gateway.addDevice('valve-1', 'picky');
  }, 120_000);
  afterAll(async () => {
    await Promise.all([press, pump, valve].map((device) => device?.stop()));
    await gateway?.dispose();
  });

  /** Names of the messages that were exchanged with this device, as often as they were. */
  const exchanged = (device: RecordedDevice) =>
    device.messages.map(({ action, topic, payload }) => described.recognise(action, topic, payload));

  const heard = (device: RecordedDevice, ...messages: string[]) =>
    eventually(
      messages.join(' and '),
      async () => exchanged(device),
      (names) => messages.every((message) => names.includes(message)),
      PATIENCE,
    );

  test('is served, printed, and says where the door is', async () => {
    const printed = await gateway.gatehouse<AsyncApi>('api', 'mqtt');
    expect(printed).toEqual(described.document);
    const { host, port } = gateway.ready.mqtt;
    expect(printed.servers['gateway']?.host).toBe(`${host}:${port}`);
    expect(await gateway.gatehouse('api', 'operator')).toMatchObject({ openapi: '3.1.0' });
    const claim = JSON.parse(await readFile(await claimFor(gateway, 'valve-1', 'shown'), 'utf8')) as unknown;
    expect(described.accepts('ClaimFile', claim)).toBe(true);
  });

  test('describes an enrollment that a person decides, and one that is refused', async () => {
    await press.enroll(gateway, { label: 'careful' }, () => void approve());
    async function approve() {
      const [request] = await gateway.operator.list<EnrollmentRequestSummary>('listEnrollmentRequests');
      await gateway.operator.call('approveEnrollment', { params: [request?.id ?? ''], body: {} });
    }
    await expect(valve.enroll(gateway)).rejects.toThrow(/KEY_NOT_ALLOWED|rsa-3072/);
    const statuses = [...press.messages, ...valve.messages]
      .filter(({ action }) => action === 'send')
      .map(({ payload }) => (JSON.parse(payload.toString()) as { status: number }).status);
    expect(new Set(statuses)).toEqual(new Set([202, 200, 400]));
    expect(new Set(exchanged(valve))).toEqual(new Set(['enrollCsr csr', 'enrollCertificate csrAnswer']));
  });

  test('describes a session, its will, a renewal, and the time for a clock that is wrong', async () => {
    await press.start();
    await heard(press, 'state state', 'fleetTrust fleetTrustNotice', 'fleetRevocations revocationsNotice');
    await press.agent.publish('temperature', '{"celsius":21.5}');
    const renewed = press.agent.status().certificate?.serial;
    await gateway.operator.call('renewDevice', { params: ['press-1'], body: {} });
    await heard(press, 'notice renewNotice', 'csr csr', 'certificate csrAnswer', 'ack ack', 'dataOut data');
    await eventually(
      'its new certificate',
      async () => press.agent.status().certificate?.serial,
      (now) => now !== renewed,
    );
    press.clockOffset = 3_600_000;
    press.agent.reconnect();
    await heard(press, 'notice timeNotice');
    press.clockOffset = 0;
  }, 90_000);

  test('describes the quarantine of a device with a TPM, and how it proves itself', async () => {
    await pump.enroll(gateway);
    await pump.start();
    await heard(pump, 'enrollCsr tpmChallenge', 'enrollCertificate csrAnswer', 'state state');
    await pump.stop();
    // Its disk is set back.
    await pump.deps.store.writeRecord('reports', { version: 1, count: 0 });
    await pump.start();
    await heard(pump, 'notice quarantineNotice', 'notice attestNotice', 'notice renewNotice', 'csr tpmChallenge');
    const evidence = pump.messages.filter(
      ({ topic, payload }) => topic.endsWith('/ack') && payload.includes('evidence'),
    );
    expect(evidence.length).toBeGreaterThan(0);
  }, 90_000);

  test('describes what a device is to trust, and that it is revoked', async () => {
    press.lost.add(FLEET_TOPICS.trust);
    await gateway.gatehouse('ca', 'rollover', 'prepare', '--root');
    await gateway.gatehouse('ca', 'rollover', 'announce');
    // It has not heard of it with the fleet, says so in its report, and is told alone.
    press.agent.reconnect();
    await heard(press, 'notice trustNotice');
    await gateway.operator.call('revokeDevice', { params: ['press-1'], body: { reason: 'superseded' } });
    await heard(press, 'notice revokedNotice');
  }, 90_000);

  test('describes all that was said, and nothing that is never said', () => {
    const said = new Set([press, pump, valve].flatMap(exchanged));
    const all = Object.entries(described.document.channels).flatMap(([channel, { messages }]) =>
      Object.keys(messages).map((message) => `${channel} ${message}`),
    );
    // Commands are reserved.
    expect(all.filter((message) => !said.has(message))).toEqual(['dataIn data']);
  });
});
