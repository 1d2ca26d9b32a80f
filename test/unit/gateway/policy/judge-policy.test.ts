import { array, assert, constantFrom, property } from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { GroupPolicy } from '#gateway/contract/operator-api.ts';
import { DEFAULT_POLICY } from '#gateway/domain/group.ts';
import { matchesGlob, requireDeviceIdPattern } from '#gateway/domain/policy/glob.ts';
import { judgePolicy, type PolicyFacts } from '#gateway/domain/policy/judge-policy.ts';
import { isInNetworks, parseNetwork } from '#gateway/domain/policy/network-list.ts';
import { isWithin, parseTimeWindow, secondsUntilOpen } from '#gateway/domain/policy/time-window.ts';
import { requireWebhookUrl } from '#gateway/domain/policy/webhook-url.ts';

/** A Wednesday. */
const WEDNESDAY_NOON = Date.UTC(2026, 6, 15, 12, 0);

const FACTS: PolicyFacts = {
  kind: 'enroll',
  deviceId: 'pump-17',
  owner: null,
  keyKind: 'ec-p256',
  proofLevel: 'software',
  address: '10.1.2.3',
  at: WEDNESDAY_NOON,
  binding: 'none',
  isRegistered: true,
  isEnrolledWithOtherKey: false,
  devicesEnrolled: 3,
  enrolledLastHour: 2,
};

function refusals(policy: Partial<GroupPolicy>, facts: Partial<PolicyFacts> = {}) {
  return judgePolicy({ ...DEFAULT_POLICY, ...policy }, { ...FACTS, ...facts }).flatMap((finding) =>
    finding.outcome === 'refused' ? [finding.code] : [],
  );
}

function waits(policy: Partial<GroupPolicy>, facts: Partial<PolicyFacts> = {}) {
  const findings = judgePolicy({ ...DEFAULT_POLICY, ...policy }, { ...FACTS, ...facts });
  return findings.flatMap((finding) => (finding.outcome === 'waits' ? [finding.detail] : []));
}

describe('the rules of a group', () => {
  it('grants a registered device what a new group asks for', () => {
    expect(refusals({})).toEqual([]);
    expect(waits({})).toEqual([]);
  });

  it.each<[string, Partial<GroupPolicy>, Partial<PolicyFacts>]>([
    ['KEY_NOT_ALLOWED', { keys: ['rsa-2048'] }, {}],
    ['PROOF_TOO_LOW', { proof: 'tpm-endorsed' }, { proofLevel: 'tpm' }],
    ['CSR_BINDING_REQUIRED', { binding: 'required' }, {}],
    ['NETWORK_NOT_ALLOWED', { networks: ['10.2.0.0/16', 'fd00::/8'] }, {}],
    ['OWNER_MISSING', { requireOwner: true }, {}],
    ['OUTSIDE_HOURS', { hours: ['Mon-Fri 13:00-18:00'] }, {}],
    ['DEVICE_ID_NOT_ALLOWED', { deviceIdPattern: 'valve-*' }, {}],
    ['GROUP_FULL', { maxDevices: 3 }, {}],
    ['RATE_LIMITED', { maxPerHour: 2 }, {}],
    ['DEVICE_UNKNOWN', {}, { isRegistered: false }],
  ])('refuses with %s', (code, policy, facts) => {
    expect(refusals(policy, facts)).toEqual([code]);
  });

  it('grants what just keeps within the limits', () => {
    const policy: Partial<GroupPolicy> = {
      proof: 'tpm',
      binding: 'required',
      networks: ['10.1.0.0/16'],
      requireOwner: true,
      hours: ['Wed 12:00-12:01'],
      deviceIdPattern: 'pump-??',
      maxDevices: 4,
      maxPerHour: 3,
    };
    expect(refusals(policy, { proofLevel: 'tpm', binding: 'verified', owner: 'plant 7' })).toEqual([]);
  });

  it('lets an unknown device in where the group takes them by itself, and lets it wait where a person decides', () => {
    expect(refusals({ approval: 'auto' }, { isRegistered: false })).toEqual([]);
    expect(waits({ approval: 'manual' }, { isRegistered: false })).toEqual(['a person decides']);
  });

  it('lets a device with another key than its accepted one wait, whatever the group says', () => {
    for (const approval of ['auto', 'registered', 'manual'] as const) {
      expect(waits({ approval }, { isEnrolledWithOtherKey: true })).toEqual([
        'this device is enrolled with another key',
      ]);
    }
  });

  it('does not stop a renewal for the hour, a full group or the look of the id, but for what changed', () => {
    const policy: Partial<GroupPolicy> = {
      hours: ['Mon 00:00-00:01'],
      deviceIdPattern: 'valve-*',
      maxDevices: 1,
      maxPerHour: 0,
      approval: 'manual',
    };
    expect(refusals(policy, { kind: 'reenroll' })).toEqual([]);
    expect(waits(policy, { kind: 'reenroll' })).toEqual([]);
    expect(refusals({ networks: ['10.2.0.0/16'] }, { kind: 'reenroll' })).toEqual(['NETWORK_NOT_ALLOWED']);
  });

  it('names every rule, also after one that refuses', () => {
    const findings = judgePolicy({ ...DEFAULT_POLICY, keys: ['ed25519'] }, FACTS);
    expect(findings.map(({ rule }) => rule)).toEqual([
      'key type',
      'proof level',
      'binding to TLS',
      'network',
      'owner',
      'hours',
      'device id',
      'devices',
      'per hour',
      'approval',
    ]);
  });
});

describe('networks', () => {
  it.each([
    ['10.0.0.0/8', '10.255.255.255', true],
    ['10.0.0.0/8', '11.0.0.0', false],
    ['10.1.2.3', '10.1.2.3', true],
    ['10.1.2.3', '10.1.2.4', false],
    ['192.168.4.0/22', '192.168.7.255', true],
    ['192.168.4.0/22', '192.168.8.0', false],
    ['0.0.0.0/0', '203.0.113.9', true],
    ['0.0.0.0/0', '2001:db8::1', false],
    ['::/0', '2001:db8::1', true],
    ['::/0', '203.0.113.9', false],
    ['fd00::/8', 'fdff::1', true],
    ['fd00::/8', 'fe80::1%eth0', false],
    ['fe80::/10', 'fe80::1%eth0', true],
    ['10.0.0.0/8', '::ffff:10.9.8.7', true],
    ['2001:db8::/33', '2001:db8:8000::1', false],
  ])('%s and %s: %s', (network, address, isIn) => {
    expect(isInNetworks([network], address)).toBe(isIn);
  });

  it('holds no text that is no address', () => {
    expect(isInNetworks(['0.0.0.0/0', '::/0'], 'unknown')).toBe(false);
    expect(isInNetworks(['0.0.0.0/0', '::/0'], '')).toBe(false);
  });

  it.each([
    '',
    '10.0.0.0/33',
    '10.0.0.0/-1',
    '10.0.0.0/8/8',
    '10.0.0/8',
    '300.0.0.0/8',
    'fd00::/129',
    'fe80::1%eth0/64',
    'plant7',
  ])('refuses "%s"', (text) => {
    expect(() => parseNetwork(text)).toThrow(RangeError);
  });
});

const at = (text: string) => Date.parse(`${text}Z`);

describe('hours', () => {
  it.each([
    ['Mon-Fri 08:00-18:00', '2026-07-15T08:00:00', true],
    ['Mon-Fri 08:00-18:00', '2026-07-15T07:59:59', false],
    ['Mon-Fri 08:00-18:00', '2026-07-15T18:00:00', false],
    ['Mon-Fri 08:00-18:00', '2026-07-18T12:00:00', false],
    ['Sat-Mon 00:00-24:00', '2026-07-19T23:59:59', true],
    ['Sat-Mon 00:00-24:00', '2026-07-21T00:00:00', false],
    ['Fri 22:00-06:00', '2026-07-18T05:59:00', true],
    ['Fri 22:00-06:00', '2026-07-17T05:59:00', false],
    ['Fri 22:00-06:00', '2026-07-17T22:00:00', true],
    ['06:00-07:00', '2026-07-19T06:30:00', true],
  ])('%s at %s: %s', (window, moment, isOpen) => {
    expect(isWithin(parseTimeWindow(window), at(moment))).toBe(isOpen);
  });

  it('tells when the next one opens', () => {
    expect(secondsUntilOpen([parseTimeWindow('Mon 08:00-09:00')], at('2026-07-18T08:00:00'))).toBe(2 * 24 * 3600);
    expect(secondsUntilOpen([parseTimeWindow('Wed 11:00-13:00')], WEDNESDAY_NOON)).toBe(0);
    // As minute after minute would find it, across days and midnight.
    const windows = ['Mon-Fri 08:00-18:00', 'Sat 22:30-02:15'].map(parseTimeWindow);
    for (let minute = 0; minute < 7 * 24 * 60; minute += 7) {
      const moment = WEDNESDAY_NOON + minute * 60_000;
      const opens = moment + secondsUntilOpen(windows, moment) * 1000;
      expect(windows.some((window) => isWithin(window, opens))).toBe(true);
      expect(windows.some((window) => isWithin(window, opens - 60_000)) && opens > moment).toBe(false);
    }
  });

  it.each([
    '',
    'always',
    '08:00',
    'Mon 08:00-08:00',
    'Mon 25:00-26:00',
    'Mon 08:60-09:00',
    'Xyz 08:00-09:00',
    'Mon 24:00-08:00',
  ])('refuses "%s"', (text) => {
    expect(() => parseTimeWindow(text)).toThrow(RangeError);
  });
});

describe('device id patterns', () => {
  it('match as a regular expression made of them would', () => {
    const characters = constantFrom('a', 'b', '-', '*', '?');
    const pattern = array(characters, { maxLength: 10 }).map((list) => list.join(''));
    const text = array(constantFrom('a', 'b', '-'), { maxLength: 12 }).map((list) => list.join(''));
    assert(
      property(pattern, text, (glob, id) => {
        const reference = new RegExp(`^${glob.replaceAll('*', '.*').replaceAll('?', '.')}$`);
        expect(matchesGlob(glob, id)).toBe(reference.test(id));
      }),
      { numRuns: 2_000 },
    );
  });

  it('take no longer for one that is made to be slow', () => {
    // A backtracking matcher would need far longer than the test may take.
    expect(matchesGlob('*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b', 'a'.repeat(63))).toBe(false);
  });

  it.each(['', 'pump 17', 'pump/17', 'x'.repeat(64)])('are refused when no device could look like "%s"', (text) => {
    expect(() => requireDeviceIdPattern(text)).toThrow(RangeError);
  });
});

describe('webhook addresses', () => {
  it.each([
    'http://policy.example/',
    'policy.example',
    'https://user:secret@policy.example/',
    'https://policy.example/#x',
    '',
  ])('refuses "%s"', (text) => {
    expect(() => requireWebhookUrl(text)).toThrow(RangeError);
  });

  it('takes https', () => {
    expect(requireWebhookUrl('https://policy.example:8443/devices?site=7')).toContain('https:');
  });
});
