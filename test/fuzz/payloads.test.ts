import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AgentError } from '#device-agent/domain/agent-error.ts';
import { parseRetryAfter } from '#device-agent/est/retry-after.ts';
import { readTpmChallengeAnswer, toTpmChallengeRequest } from '#device-agent/operations/tpm-challenge-messages.ts';
import { parseDeviceId } from '#gateway/contract/device-id.ts';
import { formatJoinUrl, type JoinUrl, parseJoinUrl } from '#gateway/contract/join-url.ts';
import { parseBoundedJson } from '#gateway/contract/parse-bounded-json.ts';
import { type NoticeAck, parseAgentState, parseNoticeAck } from '#gateway/contract/reports.ts';
import { deviceTopics, parseDeviceTopic } from '#gateway/contract/topics.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import {
  checkJsonContentType,
  formatChallengeAnswer,
  parseChallengeBody,
  parseNonceBody,
} from '#gateway/est/attestation-bodies.ts';
import { type BasicCredentials, parseBasicCredentials } from '#gateway/est/basic-credentials.ts';
import { fuzzTextParser } from './fuzz-parser.ts';
import { holdsFor } from './fuzz-runs.ts';
import { mutatedJson } from './mutate-json.ts';

const NOW = Date.UTC(2026, 6, 1, 12);

/** As every reader of payloads does it. @returns undefined when it is not JSON */
function readJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

fuzzTextParser({
  name: 'parseBoundedJson',
  valid: ['{"a":[1,{"b":null}]}', '0', '"x"', '['.repeat(32) + ']'.repeat(32)],
  mutated: [mutatedJson([{ a: [1, { b: null }], c: 'x' }])],
  parse: (text) => [parseBoundedJson(text)],
  refusesWith: SyntaxError,
  // Whoever walks through it comes to an end.
  holds: ([value]) => expect(() => structuredClone(value)).not.toThrow(),
});

const acks: NoticeAck[] = [
  { noticeId: 'n-1', outcome: 'received' },
  { noticeId: 'n-1', outcome: 'failed', detail: 'the hook ended with 1' },
  { noticeId: 'n-1', outcome: 'done', evidence: { attest: 'YQ==', signature: 'cw==', publicArea: 'cA==' } },
];

fuzzTextParser<NoticeAck>({
  name: 'parseNoticeAck',
  valid: acks.map((ack) => JSON.stringify(ack)),
  mutated: [mutatedJson(acks)],
  parse: (text) => parseNoticeAck(readJson(text)),
  holds: (ack) => {
    expect(ack.noticeId.length).toBeLessThanOrEqual(64);
    expect(ack.detail?.length ?? 0).toBeLessThanOrEqual(500);
    expect(parseNoticeAck(JSON.parse(JSON.stringify(ack)))).toEqual(ack);
  },
});

const state = {
  version: 1,
  connected: true,
  agentVersion: '0.1.0',
  serial: '0a1b',
  proofLevel: 'software',
  clock: NOW,
};
const states = [
  state,
  { ...state, nextRenewalAt: NOW, hook: { exitCode: 0, timedOut: false, at: NOW }, run: 'a'.repeat(16), count: 7 },
];
const REPORTED = [
  'agentVersion',
  'anchors',
  'clock',
  'connected',
  'count',
  'nextRenewalAt',
  'rolledBack',
  'run',
  'serial',
];

fuzzTextParser({
  name: 'parseAgentState',
  valid: states.map((report) => JSON.stringify(report)),
  mutated: [mutatedJson(states)],
  parse: (text) => parseAgentState(readJson(text)),
  holds: (read) => {
    expect(REPORTED).toEqual(expect.arrayContaining(Object.keys(read)));
    expect(read.run ?? '0'.repeat(16)).toMatch(/^[0-9a-f]{16}$/);
    expect(Number.isSafeInteger(read.count ?? 0) && (read.count ?? 0) >= 0).toBe(true);
    expect(read.serial.length + read.agentVersion.length).toBeLessThanOrEqual(104);
  },
});

const octets = (min: number, max: number) =>
  fc.uint8Array({ minLength: min, maxLength: max }).map((bytes) => Buffer.from(bytes));
const base64 = (bytes: number) => Buffer.alloc(bytes, 7).toString('base64');
const challenges = [
  { version: 1, ekCertificate: base64(900), ekChain: [base64(900), base64(30)], akPublic: base64(90) },
  { version: 1, ekPublic: base64(300), akPublic: base64(90) },
];

fuzzTextParser({
  name: 'parseChallengeBody',
  valid: challenges.map((challenge) => JSON.stringify(challenge)),
  mutated: [mutatedJson(challenges)],
  parse: (text) => parseChallengeBody(Buffer.from(text, 'utf8')),
  refusesWith: GatewayError,
  holds: ({ ekCertificate, ekChain, ekPublic, akPublic }) => {
    expect(ekChain.length).toBeLessThanOrEqual(6);
    for (const bytes of [akPublic, ...ekChain, ekCertificate ?? akPublic, ekPublic ?? akPublic]) {
      expect(Buffer.isBuffer(bytes) && bytes.length > 0 && bytes.length <= 9 * 1024).toBe(true);
    }
  },
});

describe('parseChallengeBody', () => {
  it('refuses lengths that are no numbers, however deep they are nested', () => {
    const length = `{"length":${'['.repeat(20_000)}${']'.repeat(20_000)}}`;
    for (const field of ['ekCertificate', 'ekChain', 'ekPublic', 'akPublic']) {
      const text = `{"version":1,"akPublic":"AAAA","${field}":${length}}`;
      expect(() => parseChallengeBody(Buffer.from(text))).toThrow(GatewayError);
    }
  });
});

fuzzTextParser({
  name: 'parseNonceBody',
  valid: ['', '{}', '{"len":8}', '{"len":64}'],
  mutated: [mutatedJson([{ len: 8 }, { len: 64 }])],
  parse: (text) => parseNonceBody(Buffer.from(text, 'utf8')),
  refusesWith: GatewayError,
  holds: (length) => expect(Number.isInteger(length) && length >= 8 && length <= 64).toBe(true),
});

const answers = [
  { version: 1, challengeId: 'c-1', credentialBlob: 'AAMBAgM=', encryptedSecret: 'AAH/', expiresIn: 300 },
];

fuzzTextParser({
  name: 'readTpmChallengeAnswer',
  valid: answers.map((answer) => JSON.stringify(answer)),
  mutated: [mutatedJson(answers)],
  parse: (text) => readTpmChallengeAnswer(readJson(text)),
  refusesWith: AgentError,
  holds: ({ credentialBlob, encryptedSecret }) => {
    for (const sized of [credentialBlob, encryptedSecret]) expect(sized.readUInt16BE(0)).toBe(sized.length - 2);
  },
});

describe('the round trip of a TPM challenge', () => {
  it('comes back from its JSON on both sides', () => {
    const asked = fc.record({
      ekPublic: octets(1, 600),
      akPublic: octets(1, 600),
      ekChain: fc.array(octets(1, 900), { maxLength: 6 }),
    });
    holdsFor(200, asked, (identity) => {
      expect(parseChallengeBody(Buffer.from(JSON.stringify(toTpmChallengeRequest(identity))))).toEqual(identity);
    });
    const sized = octets(1, 300).map((bytes) =>
      Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 255]), bytes]),
    );
    holdsFor(200, fc.tuple(sized, sized), ([credentialBlob, encryptedSecret]) => {
      const made = { challengeId: 'c-1', credentialBlob, encryptedSecret, expiresIn: 300 };
      const read = readTpmChallengeAnswer(JSON.parse(formatChallengeAnswer(made)));
      expect(read).toEqual({ kind: 'challenge', credentialBlob, encryptedSecret });
    });
  });
});

fuzzTextParser({
  name: 'checkJsonContentType',
  valid: ['application/json', 'application/est-attestation-freshness+json; charset=utf-8'],
  parse: (text) => {
    checkJsonContentType(text);
    return text;
  },
  refusesWith: GatewayError,
  holds: (text) => expect(text.toLowerCase()).toContain('json'),
});

function basic(user: string, password: string): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
}

fuzzTextParser<BasicCredentials>({
  name: 'parseBasicCredentials',
  valid: [basic('pump-1', '0123456789abcdefghjkmnpqrs'), basic('', 'x'), basic('a', 'b:c')],
  parse: parseBasicCredentials,
  holds: (credentials, header) => {
    expect(credentials.ticket).not.toBe('');
    expect(credentials.deviceId).not.toContain(':');
    expect(header.length).toBeLessThanOrEqual(1024);
    // Octets that are no UTF-8 were replaced, so only the reading of the text again is the same.
    expect(parseBasicCredentials(basic(credentials.deviceId, credentials.ticket)) ?? credentials).toEqual(credentials);
  },
});

const answered = 'Wed, 01 Jul 2026 12:00:00 GMT';

fuzzTextParser({
  name: 'parseRetryAfter',
  valid: ['0', '120', '999999999', 'Wed, 01 Jul 2026 12:05:00 GMT', 'Wednesday, 01-Jul-26 12:05:00 GMT'],
  parse: (text) => {
    for (const date of [undefined, '', text]) parseRetryAfter(text, date, NOW);
    return parseRetryAfter(text, answered, NOW);
  },
  // Neither hammers nor stops for ever.
  holds: (ms) => expect(Number.isInteger(ms) && ms >= 1000 && ms <= 24 * 3600_000).toBe(true),
});

const joinUrl: JoinUrl = {
  host: '10.0.0.1',
  port: 8443,
  deviceId: parseDeviceId('pump-1'),
  ticket: '0123456789abcdefghjkmnpqrs',
  rootSha256: 'ab'.repeat(32),
};

fuzzTextParser<JoinUrl>({
  name: 'parseJoinUrl',
  valid: [joinUrl, { ...joinUrl, host: '::1' }, { ...joinUrl, host: 'gate.example' }].map(formatJoinUrl),
  mutated: [fc.nat(99_999).map((port) => formatJoinUrl({ ...joinUrl, port }))],
  parse: (text) => {
    try {
      return parseJoinUrl(text);
    } catch (error) {
      // It may hold a live ticket: the error goes to terminals and logs.
      if (error instanceof Error) expect(error.message).not.toContain(joinUrl.ticket);
      throw error;
    }
  },
  refusesWith: SyntaxError,
  holds: (url) => {
    expect(url.port >= 1 && url.port <= 65535).toBe(true);
    expect(parseJoinUrl(formatJoinUrl(url))).toEqual(url);
  },
});

fuzzTextParser({
  name: 'parseDeviceId',
  valid: ['pump-1', 'A', '0'.repeat(63)],
  parse: parseDeviceId,
  refusesWith: RangeError,
  // Safe in a URI, a topic, a file name and a shell.
  holds: (id) => expect(id).toMatch(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/),
});

const topics = Object.values(deviceTopics(joinUrl.deviceId)).flatMap((topic) => [topic, `${topic}/more`]);

fuzzTextParser({
  name: 'parseDeviceTopic',
  valid: topics,
  parse: parseDeviceTopic,
  holds: ({ deviceId, direction, rest }, topic) => {
    expect(['v1', 'd', deviceId, direction, ...rest].join('/')).toBe(topic);
    expect(deviceId).not.toBe('');
  },
});
