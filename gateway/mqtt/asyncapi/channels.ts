import type { DeviceId } from '#gateway/contract/device-id.ts';
import { deviceTopics, enrollTopics, FLEET_TOPICS } from '#gateway/contract/topics.ts';
import type { MessageName } from './messages.ts';

export type ChannelDefinition = {
  /** With parameters in braces. */
  address: string;
  description: string;
  /** What the gateway does, by the name of the operation. */
  operations: Readonly<Record<string, 'send' | 'receive'>>;
  messages: readonly MessageName[];
  qos: 0 | 1;
  isRetained?: true;
  /** The channel on which each message is answered. */
  answeredOn?: string;
  /** Who may use it: those with a certificate of this gateway, or those who may only ask for one. */
  openTo: 'device' | 'enrollment';
};

/** Stands where a device id does. */
const ANY_DEVICE = '{deviceId}' as DeviceId;

const own = deviceTopics(ANY_DEVICE);
const enrolling = enrollTopics(ANY_DEVICE);

/** Every topic of contract/topics.ts. One that is missing there, or here, does not compile. */
const DEVICE_CHANNELS = {
  notice: {
    address: own.notice,
    description: 'Signed notices to this device. Unfinished ones are sent after each subscription, in order of seq.',
    operations: { sendNotice: 'send' },
    messages: ['renewNotice', 'revokedNotice', 'attestNotice', 'quarantineNotice', 'trustNotice', 'timeNotice'],
    qos: 1,
    openTo: 'device',
  },
  certificate: {
    address: own.certificate,
    description: 'Answers to the CSRs of this device.',
    operations: { answerRenewal: 'send' },
    messages: ['csrAnswer'],
    qos: 1,
    openTo: 'device',
  },
  dataIn: {
    address: `${own.dataIn}/{subtopic}`,
    description: 'Reserved for commands to this device: nothing is sent here yet.',
    operations: { sendCommand: 'send' },
    messages: ['data'],
    qos: 1,
    openTo: 'device',
  },
  csr: {
    address: own.csr,
    description: 'Renewal of the certificate that the session was made with.',
    operations: { receiveRenewal: 'receive' },
    messages: ['csr', 'tpmChallenge'],
    qos: 1,
    answeredOn: 'certificate',
    openTo: 'device',
  },
  ack: {
    address: own.ack,
    description: 'How it went with a notice.',
    operations: { receiveAcknowledgement: 'receive' },
    messages: ['ack'],
    qos: 1,
    openTo: 'device',
  },
  state: {
    address: own.state,
    description: 'What the device says of itself; the only topic of a will.',
    operations: { receiveState: 'receive' },
    messages: ['state'],
    qos: 1,
    openTo: 'device',
  },
  dataOut: {
    address: `${own.dataOut}/{subtopic}`,
    description:
      'Telemetry. Delivered, as it is and never retained, to devices of groups that may read the group of this one.',
    operations: { receiveTelemetry: 'receive', deliverTelemetry: 'send' },
    messages: ['data'],
    qos: 1,
    openTo: 'device',
  },
} as const satisfies Record<keyof typeof own, ChannelDefinition>;

const ENROLLMENT_CHANNELS = {
  csr: {
    address: enrolling.csr,
    description:
      'First enrollment, with a claim or the certificate of the maker; or renewal after the end, with the expired certificate.',
    operations: { receiveEnrollment: 'receive' },
    messages: ['csr', 'tpmChallenge'],
    qos: 1,
    answeredOn: 'enrollCertificate',
    openTo: 'enrollment',
  },
  certificate: {
    address: enrolling.certificate,
    description: 'Answers to them.',
    operations: { answerEnrollment: 'send' },
    messages: ['csrAnswer'],
    qos: 1,
    openTo: 'enrollment',
  },
} as const satisfies Record<keyof typeof enrolling, ChannelDefinition>;

const FLEET_CHANNELS = {
  revocations: {
    address: FLEET_TOPICS.revocations,
    description: 'Revocations, to all. Retained: who subscribes has the newest.',
    operations: { sendRevocations: 'send' },
    messages: ['revocationsNotice'],
    qos: 1,
    isRetained: true,
    openTo: 'device',
  },
  trust: {
    address: FLEET_TOPICS.trust,
    description: 'Trust anchors, to all. Retained.',
    operations: { sendTrust: 'send' },
    messages: ['fleetTrustNotice'],
    qos: 1,
    isRetained: true,
    openTo: 'device',
  },
} as const satisfies Record<keyof typeof FLEET_TOPICS, ChannelDefinition>;

export const CHANNELS: Readonly<Record<string, ChannelDefinition>> = {
  ...DEVICE_CHANNELS,
  enrollCsr: ENROLLMENT_CHANNELS.csr,
  enrollCertificate: ENROLLMENT_CHANNELS.certificate,
  fleetRevocations: FLEET_CHANNELS.revocations,
  fleetTrust: FLEET_CHANNELS.trust,
};
