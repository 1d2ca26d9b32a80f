import { describe, expect, it } from 'vitest';
import { type DeviceIdentity, mayPublish, mayReceive, maySubscribe } from '#gateway/domain/topic-policy.ts';

const device: DeviceIdentity = { kind: 'device', deviceId: 'press-07', readFrom: [], revoked: false };
const reader: DeviceIdentity = { kind: 'device', deviceId: 'monitor-1', readFrom: ['presses'], revoked: false };
const revoked: DeviceIdentity = { ...device, revoked: true };
const groupOf = (id: string) => ({ 'press-07': 'presses', 'oven-1': 'ovens', 'monitor-1': 'monitors' })[id];

describe('publishing', () => {
  it.each([
    'v1/d/press-07/out/data/temperature',
    'v1/d/press-07/out/data/a/b/c',
    'v1/d/press-07/out/ack',
    'v1/d/press-07/out/state',
    'v1/d/press-07/out/csr',
  ])('is allowed on its own %s', (topic) => expect(mayPublish(device, topic)).toBe(true));

  it.each([
    ['another device', 'v1/d/press-08/out/data/temperature'],
    ['what the gateway writes', 'v1/d/press-07/in/notice'],
    ['the data topic itself', 'v1/d/press-07/out/data'],
    ['below a report', 'v1/d/press-07/out/ack/more'],
    ['an unknown report', 'v1/d/press-07/out/other'],
    ['the fleet topics', 'v1/fleet/revocations'],
    ['a wildcard', 'v1/d/press-07/out/data/#'],
    ['a plus', 'v1/d/press-07/out/data/+'],
    ['everything', '#'],
    ['the broker', '$SYS/x/new/clients'],
    ['a prefix of its name', 'v1/d/press-0/out/data/x'],
    ['another version', 'v2/d/press-07/out/data/x'],
    ['nothing', ''],
    ['a null character', 'v1/d/press-07/out/data/\0'],
  ])('is refused to %s', (_, topic) => expect(mayPublish(device, topic)).toBe(false));

  it('leaves a revoked session nothing but its acknowledgement', () => {
    expect(mayPublish(revoked, 'v1/d/press-07/out/ack')).toBe(true);
    expect(mayPublish(revoked, 'v1/d/press-07/out/state')).toBe(false);
    expect(mayPublish(revoked, 'v1/d/press-07/out/data/x')).toBe(false);
  });
});

describe('publishing telemetry in a group that asks for proof', () => {
  const topic = 'v1/d/press-07/out/data/temperature';

  it.each([
    ['software', 'tpm', false],
    ['tpm', 'tpm', true],
    ['tpm', 'tpm-endorsed', false],
    ['tpm-endorsed', 'tpm', true],
    ['tpm-endorsed', 'tpm-endorsed', true],
    ['software', 'software', true],
  ] as const)('with a %s key where %s is asked for: %s', (proofLevel, publishProof, allowed) => {
    expect(mayPublish({ ...device, proofLevel, publishProof }, topic)).toBe(allowed);
  });

  it('leaves reports and acknowledgements to every device', () => {
    const weak: DeviceIdentity = { ...device, proofLevel: 'software', publishProof: 'tpm-endorsed' };
    for (const report of ['ack', 'state', 'csr']) expect(mayPublish(weak, `v1/d/press-07/out/${report}`)).toBe(true);
  });
});

describe('subscribing', () => {
  it.each([
    'v1/d/press-07/in/#',
    'v1/d/press-07/in/notice',
    'v1/d/press-07/in/data/+',
    'v1/fleet/revocations',
    'v1/fleet/#',
  ])('is allowed to %s', (filter) => expect(maySubscribe(device, filter)).toBe(true));

  it.each([
    '#',
    '+/#',
    'v1/#',
    'v1/d/#',
    'v1/d/+/in/#',
    'v1/d/press-08/in/#',
    'v1/d/press-07/#',
    'v1/d/press-07/+/notice',
    'v1/d/press-07/out/#',
    'v1/d/press-08/out/data/#',
    'v1/d/press-07/in',
    'v1/d/press-07/in/#/x',
    'v1/d/press-07/in/a#',
    '$SYS/#',
    '$share/g/v1/d/press-07/in/#',
    '',
  ])('is refused to "%s"', (filter) => expect(maySubscribe(device, filter)).toBe(false));

  it('lets a reader subscribe to telemetry, of everybody or of one, and to nothing else of theirs', () => {
    expect(maySubscribe(reader, 'v1/d/+/out/data/#')).toBe(true);
    expect(maySubscribe(reader, 'v1/d/press-07/out/data/#')).toBe(true);
    expect(maySubscribe(reader, 'v1/d/+/out/#')).toBe(false);
    expect(maySubscribe(reader, 'v1/d/+/out/+/x')).toBe(false);
    expect(maySubscribe(reader, 'v1/d/+/out/ack')).toBe(false);
    expect(maySubscribe(reader, 'v1/d/+/+/data/#')).toBe(false);
  });

  it('is refused to a revoked session', () => expect(maySubscribe(revoked, 'v1/d/press-07/in/#')).toBe(false));
});

describe('receiving', () => {
  it('gives a device its own and the fleet topics', () => {
    expect(mayReceive(device, 'v1/d/press-07/in/notice', groupOf)).toBe(true);
    expect(mayReceive(device, 'v1/fleet/revocations', groupOf)).toBe(true);
    expect(mayReceive(device, 'v1/d/press-08/in/notice', groupOf)).toBe(false);
    expect(mayReceive(device, 'v1/d/oven-1/out/data/x', groupOf)).toBe(false);
    expect(mayReceive(device, '$SYS/x', groupOf)).toBe(false);
    expect(mayReceive(device, 'v1/fleet/other', groupOf)).toBe(false);
  });

  it('gives a reader the telemetry of the groups it is named for, and of no other', () => {
    expect(mayReceive(reader, 'v1/d/press-07/out/data/x', groupOf)).toBe(true);
    expect(mayReceive(reader, 'v1/d/oven-1/out/data/x', groupOf)).toBe(false);
    expect(mayReceive(reader, 'v1/d/unknown/out/data/x', groupOf)).toBe(false);
    expect(mayReceive(reader, 'v1/d/press-07/out/ack', groupOf)).toBe(false);
  });

  it('leaves a revoked session only its notices', () => {
    expect(mayReceive(revoked, 'v1/d/press-07/in/notice', groupOf)).toBe(true);
    expect(mayReceive(revoked, 'v1/d/press-07/in/data/x', groupOf)).toBe(false);
    expect(mayReceive(revoked, 'v1/fleet/revocations', groupOf)).toBe(false);
  });
});
