import { anything, assert, property, string, uint8Array } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isDeviceId, parseDeviceId } from '#gateway/contract/device-id.ts';
import { formatEstBody, parseEstBody } from '#gateway/contract/est.ts';
import { formatJoinUrl, parseJoinUrl } from '#gateway/contract/join-url.ts';
import { parseNotice } from '#gateway/contract/notice.ts';
import { parseAgentState, parseNoticeAck } from '#gateway/contract/reports.ts';
import { parseDeviceTopic } from '#gateway/contract/topics.ts';

describe('a device id', () => {
  it.each(['a', 'press-07', 'A.b_c-9', '0'.repeat(63), 'constructor'])('may be %s', (id) =>
    expect(isDeviceId(id)).toBe(true),
  );
  it.each(['', '-a', '.a', 'a/b', 'a b', 'a+', '#', 'é', '0'.repeat(64), '__proto__', 'a\n'])('may not be "%s"', (id) =>
    expect(isDeviceId(id)).toBe(false),
  );
});

describe('a join URL', () => {
  const url = {
    host: '10.0.0.1',
    port: 8443,
    deviceId: parseDeviceId('press-07'),
    ticket: '0123456789abcdefghjkmnpqrs',
    rootSha256: 'ab'.repeat(32),
  };
  it('comes back from its text', () => {
    expect(parseJoinUrl(formatJoinUrl(url))).toEqual(url);
    expect(parseJoinUrl(` ${formatJoinUrl({ ...url, host: '::1' })}\n`)).toEqual({ ...url, host: '::1' });
  });
  it('has no character that a shell would touch', () => expect(formatJoinUrl(url)).toMatch(/^[A-Za-z0-9:/.-]+$/));
  it('never repeats its text in an error, since it may hold a live ticket', () => {
    const broken = formatJoinUrl(url).replace('gatehouse://', 'http://');
    expect(() => parseJoinUrl(broken)).toThrow(/join URL/);
    expect(() => parseJoinUrl(broken)).not.toThrow(new RegExp(url.ticket));
  });
  it('parses or refuses any text, and never crashes', () => {
    assert(
      property(string({ unit: 'binary' }), (text) => {
        try {
          parseJoinUrl(text);
        } catch (error) {
          expect(error).toBeInstanceOf(SyntaxError);
        }
      }),
    );
  });
});

describe('an EST body', () => {
  it('comes back from one line, from 64-column lines and with CR, LF, space and tab inside', () => {
    assert(
      property(uint8Array({ minLength: 1, maxLength: 400 }), (bytes) => {
        const der = Buffer.from(bytes);
        expect(parseEstBody(formatEstBody(der))).toEqual(der);
        expect(parseEstBody(formatEstBody(der, { lines: true }))).toEqual(der);
        expect(parseEstBody(formatEstBody(der, { lines: true }).replaceAll('\n', ' \r\n\t'))).toEqual(der);
      }),
    );
  });
  it('is one line, or lines of at most 64 columns', () => {
    expect(formatEstBody(Buffer.alloc(1000))).not.toMatch(/\n./);
    for (const line of formatEstBody(Buffer.alloc(1000), { lines: true }).split('\n'))
      expect(line.length).toBeLessThanOrEqual(64);
  });
  it.each([
    '',
    '   ',
    '-----BEGIN CERTIFICATE REQUEST-----\nMIIB\n-----END CERTIFICATE REQUEST-----',
    'abc',
    'ab=c',
    '%%%%',
    'a-_b',
  ])('is not "%s"', (text) => expect(parseEstBody(text)).toBeUndefined());
});

describe('payloads from outside', () => {
  it('are parsed or refused whatever they are', () => {
    assert(
      property(anything(), (value) => {
        parseNotice(value);
        parseNoticeAck(value);
        parseAgentState(value);
      }),
    );
  });
  const notice = {
    version: 1,
    id: 'n-1',
    deviceId: 'press-07',
    seq: 1,
    issuedAt: 1,
    expiresAt: 2,
    kind: 'renew',
    body: { serial: 'aa', suggestedWindow: { start: 1, end: 2 }, reason: 'x', rekey: true },
  };
  it('ignore unknown fields', () => expect(parseNotice({ ...notice, more: 1 })).toEqual(notice));
  it.each([
    ['an unknown version', { version: 2 }],
    ['an unknown kind', { kind: 'other' }],
    ['a sequence number that is none', { seq: -1 }],
    ['a broken window', { body: { ...notice.body, suggestedWindow: {} } }],
  ])('refuse %s', (_, change) => expect(parseNotice({ ...notice, ...change })).toBeUndefined());
});

describe('a device topic', () => {
  it('is taken apart', () =>
    expect(parseDeviceTopic('v1/d/a/out/data/x/y')).toEqual({
      deviceId: 'a',
      direction: 'out',
      rest: ['data', 'x', 'y'],
    }));
  it.each(['v1/d/a/out', 'v1/d//out/x', 'v1/e/a/out/x', 'x', '', 'v1/d/a/both/x'])('is not "%s"', (topic) =>
    expect(parseDeviceTopic(topic)).toBeUndefined(),
  );
});
