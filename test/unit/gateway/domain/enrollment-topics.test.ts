import { describe, expect, it, test } from 'vitest';
import { type DeviceId, parseDeviceId } from '#gateway/contract/device-id.ts';
import { deviceTopics, enrollTopics, FLEET_TOPICS } from '#gateway/contract/topics.ts';
import { mayPublish, mayReceive, maySubscribe, type TopicIdentity } from '#gateway/domain/topic-policy.ts';

const own = parseDeviceId('press-07');
const other = parseDeviceId('press-08');
const enrolling: TopicIdentity = { kind: 'enrollment', deviceId: own, revoked: false };
const device: TopicIdentity = { kind: 'device', deviceId: own, readFrom: ['presses'], revoked: false };
const groupOf = () => 'presses';

/** Every topic the contract knows, of two devices and of the fleet, and near misses of those for enrollment. */
function topicsOf(deviceId: DeviceId): string[] {
  const { dataIn, dataOut, ...fixed } = deviceTopics(deviceId);
  return [...Object.values(fixed), `${dataIn}/x`, `${dataOut}/x`, ...Object.values(enrollTopics(deviceId))];
}
const everyTopic = [
  ...topicsOf(own),
  ...topicsOf(other),
  ...Object.values(FLEET_TOPICS),
  'v1/enroll',
  'v1/enroll/press-07',
  'v1/enroll/press-07/out',
  'v1/enroll/press-07/out/',
  'v1/enroll/press-07/out/csr/more',
  'v1/enroll/press-07/out/ack',
  'v1/enroll/press-07/out/state',
  'v1/enroll/press-07/in/notice',
  'v1/enroll/press-07/in/certificate/more',
  'v1/enroll//out/csr',
  'v2/enroll/press-07/out/csr',
  'v1/Enroll/press-07/out/csr',
  '/v1/enroll/press-07/out/csr',
  'v1/enroll/press-07/out/csr\0',
  '$SYS/x/new/clients',
  '',
];
const wildcards = [
  '#',
  '+/#',
  'v1/#',
  'v1/enroll/#',
  'v1/enroll/+/in/certificate',
  'v1/enroll/press-07/#',
  'v1/enroll/press-07/in/#',
  'v1/enroll/press-07/in/+',
  'v1/enroll/press-07/+/certificate',
  'v1/enroll/press-07/out/csr/#',
  'v1/fleet/#',
  'v1/d/+/out/data/#',
  'v1/d/press-07/in/#',
  '$share/g/v1/enroll/press-07/in/certificate',
];

describe('who may only enroll', () => {
  it.each([...everyTopic, ...wildcards])('publishes to "%s" only when it is the CSR topic of its device', (topic) => {
    expect(mayPublish(enrolling, topic)).toBe(topic === 'v1/enroll/press-07/out/csr');
  });

  it.each([...everyTopic, ...wildcards])('subscribes to "%s" only when it is where its answers come', (filter) => {
    expect(maySubscribe(enrolling, filter)).toBe(filter === 'v1/enroll/press-07/in/certificate');
  });

  it.each(everyTopic)('receives "%s" only when it is where its answers come', (topic) => {
    expect(mayReceive(enrolling, topic, groupOf)).toBe(topic === 'v1/enroll/press-07/in/certificate');
  });

  test('may do nothing at all once what it came with is revoked', () => {
    const revoked = { ...enrolling, revoked: true };
    for (const topic of [...everyTopic, ...wildcards]) {
      expect(mayPublish(revoked, topic)).toBe(false);
      expect(maySubscribe(revoked, topic)).toBe(false);
      expect(mayReceive(revoked, topic, groupOf)).toBe(false);
    }
  });
});

describe('a device with its own certificate', () => {
  const ofEnrollment = [...everyTopic, ...wildcards].filter((topic) => topic.includes('enroll'));

  it.each(ofEnrollment)('neither writes nor reads "%s"', (topic) => {
    expect(mayPublish(device, topic)).toBe(false);
    expect(maySubscribe(device, topic)).toBe(false);
    expect(mayReceive(device, topic, groupOf)).toBe(false);
  });
});
