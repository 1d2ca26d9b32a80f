import { describe, expect, it } from 'vitest';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import { deviceTopics, enrollTopics, FLEET_TOPICS } from '#gateway/contract/topics.ts';
import { mayPublish, mayReceive, maySubscribe } from '#gateway/domain/topic-policy.ts';
import { describeMqtt } from '#gateway/mqtt/asyncapi/describe-mqtt.ts';
import { AsyncApiDocument, type Ref } from '#test/fixtures/mqtt/asyncapi-document.ts';

const described = new AsyncApiDocument(
  JSON.parse(JSON.stringify(describeMqtt({ version: '1.2.3', address: { host: 'gateway.example', port: 8883 } }))),
);
const { document } = described;
const channels = Object.entries(document.channels);
const operations = Object.entries(document.operations);

/** Every object in it that is nothing but a reference. */
function references(value: unknown): Ref[] {
  if (typeof value !== 'object' || value === null) return [];
  if ('$ref' in value && typeof value.$ref === 'string') return [value as Ref];
  return Object.values(value).flatMap(references);
}

const channelOf = (operation: { channel: Ref }) => operation.channel.$ref.replace('#/channels/', '');

describe('the AsyncAPI document', () => {
  it('is of version 3.0.0, and says where the door is and what opens it', () => {
    expect(document.asyncapi).toBe('3.0.0');
    expect(document.info).toMatchObject({ title: expect.any(String), version: '1.2.3' });
    expect(document.servers['gateway']).toMatchObject({
      host: 'gateway.example:8883',
      protocol: 'secure-mqtt',
      protocolVersion: '3.1.1',
    });
    const schemes = document.servers['gateway']?.security.map((ref) => described.resolve(ref));
    expect(schemes).toMatchObject([{ type: 'X509' }, { type: 'X509' }]);
    const v6 = describeMqtt({ version: '1', address: { host: '::1', port: 1 } });
    expect(v6).toMatchObject({ servers: { gateway: { host: '[::1]:1' } } });
  });

  it('has no reference that leads nowhere, and nothing that nobody refers to but the claim', () => {
    const all = references(document);
    expect(all.length).toBeGreaterThan(50);
    for (const ref of all) expect(() => described.resolve(ref)).not.toThrow();
    const used = new Set(all.map(({ $ref }) => $ref));
    const { schemas, messages } = document.components;
    const unused = [
      ...Object.keys(schemas).map((name) => `#/components/schemas/${name}`),
      ...Object.keys(messages).map((name) => `#/components/messages/${name}`),
    ].filter((place) => !used.has(place));
    expect(unused).toEqual(['#/components/schemas/ClaimFile']);
  });

  it('has the topics of the contract as channels, all of them and no other', () => {
    const id = '{deviceId}' as DeviceId;
    const { dataIn, dataOut, ...own } = deviceTopics(id);
    const topics = [
      ...Object.values(own),
      `${dataIn}/{subtopic}`,
      `${dataOut}/{subtopic}`,
      ...Object.values(enrollTopics(id)),
      ...Object.values(FLEET_TOPICS),
    ];
    expect(channels.map(([, { address }]) => address).toSorted()).toEqual(topics.toSorted());
  });

  it('names the parameters of each address, and no others', () => {
    for (const [, { address, parameters = {} }] of channels) {
      const named = [...address.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
      expect(Object.keys(parameters)).toEqual(named);
    }
  });

  it('has an operation for each channel, with all of its messages, and answers where questions are asked', () => {
    expect(new Set(operations.map(([, operation]) => channelOf(operation)))).toEqual(
      new Set(channels.map(([name]) => name)),
    );
    for (const [, { channel, messages, reply }] of operations) {
      const own = described.channel(channel);
      expect(messages.map(({ $ref }) => $ref)).toEqual(
        Object.keys(own.messages).map((name) => `${channel.$ref}/messages/${name}`),
      );
      for (const { $ref } of reply?.messages ?? [])
        expect($ref.startsWith(`${reply?.channel.$ref}/messages/`)).toBe(true);
    }
    const questions = operations.filter(([, { reply }]) => reply !== undefined);
    expect(questions.map(([, { channel, reply }]) => [channel.$ref, reply?.channel.$ref])).toEqual([
      ['#/channels/csr', '#/channels/certificate'],
      ['#/channels/enrollCsr', '#/channels/enrollCertificate'],
    ]);
  });

  it('lets devices do what the topic policy lets them do, and only that', () => {
    const own = { kind: 'device', deviceId: 'press-07', readFrom: [], revoked: false } as const;
    const newcomer = { kind: 'enrollment', deviceId: 'press-07' as DeviceId, revoked: false } as const;
    const reader = { ...own, readFrom: ['default'] };
    const ownOperations = operations.filter(([name]) => name !== 'deliverTelemetry');
    expect(ownOperations).toHaveLength(operations.length - 1);
    const telemetry = 'v1/d/press-08/out/data/a';
    expect(maySubscribe(reader, telemetry) && mayReceive(reader, telemetry, () => 'default')).toBe(true);
    for (const [, { action, security, channel }] of ownOperations) {
      const { address } = described.channel(channel);
      const topic = address.replace('{deviceId}', 'press-07').replace('{subtopic}', 'a/b');
      const isOpenTo = security.map(({ $ref }) => $ref.split('/').at(-1));
      for (const [who, identity] of [
        ['device', own],
        ['enrollment', newcomer],
      ] as const) {
        const may = isOpenTo.includes(who);
        expect(mayPublish(identity, topic), `${who} publishes ${topic}`).toBe(may && action === 'receive');
        const reads = maySubscribe(identity, topic) && mayReceive(identity, topic, () => undefined);
        expect(reads, `${who} reads ${topic}`).toBe(may && action === 'send');
      }
    }
  });

  it('has examples of every message with a schema, each of which is recognised as that message', () => {
    for (const [name, operation] of operations) {
      const channel = document.channels[channelOf(operation)];
      if (channel === undefined) throw new Error(`no channel for ${name}`);
      const topic = channel.address.replace('{deviceId}', 'press-07').replace('{subtopic}', 'a');
      for (const [key, ref] of Object.entries(channel.messages)) {
        const { payload, examples = [], contentType } = described.message(ref);
        if (payload === undefined) continue;
        expect(examples.length, key).toBeGreaterThan(0);
        for (const { payload: example } of examples) {
          const bytes = contentType === 'application/json' ? JSON.stringify(example) : String(example);
          const action = operation.action as 'send' | 'receive';
          expect(described.recognise(action, topic, Buffer.from(bytes))).toBe(`${channelOf(operation)} ${key}`);
        }
      }
    }
    const claim = described.schema('ClaimFile');
    expect(claim['examples']).toHaveLength(1);
    expect(described.accepts('ClaimFile', (claim['examples'] as unknown[])[0])).toBe(true);
  });
});
