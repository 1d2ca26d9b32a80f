import type { Packet } from 'mqtt-packet';

/** What a device says on its own topics: what the gateway reads as JSON. */
export const REPORTS = [
  {
    version: 1,
    connected: true,
    serial: '0a1b',
    agentVersion: '0.1.0',
    proofLevel: 'software',
    clock: 1,
    nextRenewalAt: null,
  },
  { noticeId: 'n-1', outcome: 'done', detail: 'x' },
  { version: 1, requestId: 'r-1', csr: 'MAA=' },
  { version: 1, requestId: 'r-2', tpmChallenge: { version: 1, ekPublic: 'AAAA', akPublic: 'AAAA' } },
];

/** A text whose length is no number: whoever compares it as one goes down level by level. */
const DEEP_LENGTH = `{"version":1,"requestId":"r-3","csr":{"length":${'['.repeat(20_000)}${']'.repeat(20_000)}}}`;

/** Every packet a client may send after CONNECT, on topics that are and are not its own. */
export function packetsOf(deviceId: string): Packet[] {
  const publish = { cmd: 'publish', retain: false, dup: false, payload: 'x' } as const;
  const own = `v1/d/${deviceId}`;
  return [
    {
      cmd: 'subscribe',
      messageId: 1,
      subscriptions: [`${own}/in/notice`, 'v1/fleet/#', '#', 'v1/d/bystander/#'].map((topic) => ({
        topic,
        qos: 1 as const,
      })),
    },
    { cmd: 'unsubscribe', messageId: 2, unsubscriptions: [`${own}/in/notice`, '$SYS/#'] },
    { ...publish, topic: `${own}/out/data/a`, qos: 0 },
    { ...publish, topic: `${own}/out/data/a`, qos: 1, messageId: 3 },
    { ...publish, topic: `${own}/out/data/a`, qos: 2, messageId: 4 },
    { ...publish, topic: `${own}/out/csr`, payload: DEEP_LENGTH, qos: 1, messageId: 6 },
    { ...publish, topic: 'v1/d/bystander/in/notice', qos: 1, messageId: 5 },
    { ...publish, topic: '$SYS/x', qos: 0, retain: true },
    { cmd: 'pubrel', messageId: 4 },
    { cmd: 'puback', messageId: 77 },
    { cmd: 'pubrec', messageId: 78 },
    { cmd: 'pubcomp', messageId: 79 },
    { cmd: 'pingreq' },
    { cmd: 'disconnect' },
  ];
}
