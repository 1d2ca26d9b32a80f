import { X509Certificate } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { CsrAnswer } from '#gateway/contract/csr-messages.ts';
import { type DeviceId, parseDeviceId } from '#gateway/contract/device-id.ts';
import { deviceTopics, enrollTopics } from '#gateway/contract/topics.ts';
import { addDevice } from '#gateway/operations/add-device.ts';
import { newGroup } from '#test/fixtures/gateway/makers.ts';
import { csrOf, type DeviceKey, newKey } from '#test/fixtures/gateway/operations-world.ts';
import { ask, EnrollingGateway, pemOf, type Shown } from '#test/fixtures/mqtt/enrolling-gateway.ts';
import { RawClient } from '#test/fixtures/mqtt/raw-client.ts';
import { OpensslMaker } from '#test/fixtures/processes/openssl-maker.ts';

async function asks(client: RawClient, id: string, message: object, key: DeviceKey = newKey()): Promise<CsrAnswer> {
  const csr = (await csrOf(key)).toString('base64');
  return ask(client, enrollTopics(parseDeviceId(id)), { requestId: 'r-1', csr, ...message });
}

/** Over EST the label stands in the path: est-labels.test.ts. */
describe('a label in a CSR message', () => {
  let maker: OpensslMaker;
  let gateway: EnrollingGateway;
  beforeAll(async () => {
    maker = await OpensslMaker.create('Maker');
  });
  afterAll(() => maker.remove());
  beforeEach(async () => {
    gateway = await EnrollingGateway.open({ makers: [maker] });
    for (const group of ['line-1', 'line-2', 'line-3']) await newGroup(gateway.world, group, { approval: 'auto' });
    for (const group of ['line-1', 'line-2']) await gateway.trust(maker.root.pem, group);
  });
  afterEach(() => gateway.close());

  const groupOf = async (id: string) => (await gateway.world.store.read.devices.find(parseDeviceId(id)))?.group;

  /** Registered with the hardware serial that its maker wrote. */
  const register = (id: string, hardwareSerial: string, group: string): Promise<unknown> =>
    addDevice(gateway.deps, { deviceId: parseDeviceId(id), hardwareSerial, group, actor: 'test' });

  /** With a certificate of its own, which it is connected with. */
  const enrolled = async (): Promise<{ client: RawClient; der: Buffer; device: DeviceId }> => {
    const device = parseDeviceId('press-1');
    const key = newKey();
    const newcomer = await gateway.enroller('press-1', await gateway.claim('press-1'));
    const { certificate = '' } = await asks(newcomer, 'press-1', {}, key);
    newcomer.destroy();
    const der = Buffer.from(certificate, 'base64');
    const shown: Shown = { chain: new X509Certificate(der).toString(), keyPem: pemOf(key) };
    const client = await RawClient.connected(gateway.address, shown as never, { clientId: device });
    await client.subscribe(deviceTopics(device).certificate);
    return { client, der, device };
  };

  describe('from a device that is not registered', () => {
    test('says which of the groups that trust its maker it asks in', async () => {
      const client = await gateway.enroller('press-1', await maker.identity('press-1'));
      expect(await asks(client, 'press-1', {})).toMatchObject({
        status: 403,
        code: 'GROUP_AMBIGUOUS',
        transient: false,
        detail: expect.stringContaining('by its label'),
      });
      expect(await groupOf('press-1')).toBeUndefined();
      expect(await asks(client, 'press-1', { label: 'line-2' })).toMatchObject({ status: 200, code: 'ISSUED' });
      expect(await groupOf('press-1')).toBe('line-2');
      client.destroy();
    });

    test.each([
      ['no group', 'line-9', 404, 'LABEL_UNKNOWN'],
      ['the name of no group but of a property', '__proto__', 404, 'LABEL_UNKNOWN'],
      ['a group that does not trust its maker', 'line-3', 403, 'MANUFACTURER_UNTRUSTED'],
    ])('is refused when it names %s', async (_, label, status, code) => {
      const client = await gateway.enroller('press-1', await maker.identity('press-1'));
      expect(await asks(client, 'press-1', { label })).toMatchObject({ status, code, requestId: 'r-1' });
      expect(await groupOf('press-1')).toBeUndefined();
      client.destroy();
    });

    test.each([[''], ['a'.repeat(64)], [7], [null], [['line-1']]])('is none when it is %j', async (label) => {
      const client = await gateway.enroller('press-1', await maker.identity('press-1'));
      const answer = await asks(client, 'press-1', { label });
      expect(answer).toMatchObject({ status: 400, code: 'REQUEST_INVALID' });
      expect(answer.detail).toContain('label');
      client.destroy();
    });

    test('counts for the challenge of a TPM as for the CSR that follows', async () => {
      const client = await gateway.enroller('press-1', await maker.identity('press-1'));
      const topics = enrollTopics(parseDeviceId('press-1'));
      const challenge = (label: object) =>
        ask(client, topics, { requestId: 'r-1', tpmChallenge: { version: 1, akPublic: 'AAAA' }, ...label });
      expect(await challenge({})).toMatchObject({ code: 'GROUP_AMBIGUOUS' });
      expect(await challenge({ label: 'line-9' })).toMatchObject({ code: 'LABEL_UNKNOWN' });
      // Far enough to be told what is wrong with the keys it shows.
      expect(await challenge({ label: 'line-1' })).toMatchObject({ code: 'REQUEST_INVALID' });
      client.destroy();
    });
  });

  describe('from a device that is registered', () => {
    test('names its own group, or is refused; without one its own group counts', async () => {
      await register('press-7', 'SN-7', 'line-2');
      const client = await gateway.enroller('press-7', await maker.identity('SN-7'));
      const refusal = { status: 403, code: 'LABEL_OF_ANOTHER_GROUP', transient: false };
      expect(await asks(client, 'press-7', { label: 'line-1' })).toMatchObject(refusal);
      expect(await asks(client, 'press-7', { label: 'line-9' })).toMatchObject({ status: 404, code: 'LABEL_UNKNOWN' });
      const key = newKey();
      expect(await asks(client, 'press-7', { label: 'line-2' }, key)).toMatchObject({ status: 200 });
      expect(await asks(client, 'press-7', {}, key)).toMatchObject({ status: 200, code: 'GIVEN_AGAIN' });
      client.destroy();
    });

    test('is held to the device of the session where a maker gave one serial number twice', async () => {
      await register('press-1', 'SN-7', 'line-1');
      await register('press-2', 'SN-7', 'line-2');
      const shown = await maker.identity('SN-7');
      // Nobody knows which one it is: the client id has to tell.
      expect(await gateway.connectCode('', shown)).toBe(5);
      const client = await gateway.enroller('press-2', shown);
      expect(await asks(client, 'press-2', { label: 'line-1' })).toMatchObject({ code: 'LABEL_OF_ANOTHER_GROUP' });
      const answer = await asks(client, 'press-2', {});
      expect(answer).toMatchObject({ status: 200 });
      const { subject } = new X509Certificate(Buffer.from(answer.certificate ?? '', 'base64'));
      expect(subject).toContain('CN=press-2');
      client.destroy();
    });

    test('with a claim is the same', async () => {
      const client = await gateway.enroller('press-1', await gateway.claim('press-1'));
      expect(await asks(client, 'press-1', { label: 'line-1' })).toMatchObject({ code: 'LABEL_OF_ANOTHER_GROUP' });
      expect(await asks(client, 'press-1', { label: 'line-9' })).toMatchObject({ code: 'LABEL_UNKNOWN' });
      expect(await asks(client, 'press-1', { label: 'default' })).toMatchObject({ status: 200 });
      client.destroy();
    });
  });

  describe('in a renewal', () => {
    test.each([
      ['its own group', { label: 'default' }, 200, 'ISSUED'],
      ['nothing', {}, 200, 'ISSUED'],
      ['another group', { label: 'line-1' }, 403, 'LABEL_OF_ANOTHER_GROUP'],
      ['no group', { label: 'line-9' }, 404, 'LABEL_UNKNOWN'],
    ])('that names %s is answered with it', async (_, label, status, code) => {
      const { client, der, device } = await enrolled();
      const topics = deviceTopics(device);
      const csr = (await csrOf(newKey(), { renews: der })).toString('base64');
      expect(await ask(client, topics, { requestId: 'r-2', csr, ...label })).toMatchObject({ status, code });
      const tpmChallenge = { version: 1, akPublic: 'AAAA' };
      const challenged = await ask(client, topics, { requestId: 'r-3', tpmChallenge, ...label });
      expect(challenged.code).toBe(status === 200 ? 'REQUEST_INVALID' : code);
      client.destroy();
    });
  });
});
