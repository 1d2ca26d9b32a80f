import { createPrivateKey, generateKeyPairSync } from 'node:crypto';
import { beforeAll, describe, expect, test } from 'vitest';
import { formatPem } from '#ca/pkix/pem.ts';
import { parseAgentConfig } from '#device-agent/domain/agent-config.ts';
import { AgentError } from '#device-agent/domain/agent-error.ts';
import { parseCsrAnswer } from '#device-agent/domain/csr-answer.ts';
import { readManufacturerIdentity } from '#device-agent/domain/manufacturer-identity.ts';
import { readClaimFile } from '#device-agent/domain/read-claim-file.ts';
import { asksForBinding } from '#device-agent/domain/read-csr-attributes.ts';
import { type IssuedWithKey, TestAuthority } from '#test/fixtures/device-agent/test-authority.ts';

let authority: TestAuthority;
let issued: IssuedWithKey;
beforeAll(async () => {
  authority = await TestAuthority.create();
  issued = await authority.issueIdevid('SN-1');
});

function otherKey(): string {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' })
    .privateKey.export({ type: 'pkcs8', format: 'pem' })
    .toString();
}

function usageOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (error instanceof AgentError && error.code === 'USAGE') return `${error.message} ${error.advice}`;
    throw error;
  }
  throw new Error('it was taken');
}

const files = () => ({ certificate: issued.certificatePem, key: issued.keyPem, chain: undefined });

const claim = () => ({
  kind: 'gatehouse-claim',
  version: 1,
  deviceId: 'pump-17',
  trustDomain: 'test.example',
  est: { host: 'gw', port: 8443 },
  mqtt: { host: 'gw', port: 8883 },
  root: formatPem('CERTIFICATE', authority.rootDer),
  certificates: issued.certificatePem,
  privateKey: issued.keyPem,
  expiresAt: 1,
});

describe('a claim file', () => {
  test('is read, whatever else stands in it', () => {
    expect(readClaimFile(JSON.stringify({ ...claim(), future: true }))).toEqual(claim());
  });

  test.each<[string, () => object | string, string]>([
    ['is no JSON', () => '{"privateKey": "SECRET"', 'not JSON'],
    ['is something else', () => ({ ...claim(), kind: 'other' }), 'it is none'],
    ['is of a later version', () => ({ ...claim(), version: 2 }), 'update this agent'],
    ['names no device', () => ({ ...claim(), deviceId: '../x' }), 'device id'],
    ['has no address', () => ({ ...claim(), mqtt: { host: '', port: 1 } }), 'address'],
    ['has no key', () => ({ ...claim(), privateKey: undefined }), 'missing'],
    ['has the key of another', () => ({ ...claim(), privateKey: otherKey() }), 'damaged'],
    ['has no root', () => ({ ...claim(), root: 'SECRET' }), 'damaged'],
  ])('that %s is refused, with advice and without its text', (_name, make, text) => {
    const made = make();
    const told = usageOf(() => readClaimFile(typeof made === 'string' ? made : JSON.stringify(made)));
    expect(told).toContain(text);
    expect(told).toContain('gatehouse ticket claim');
    expect(told).not.toMatch(/SECRET|PRIVATE/);
  });
});

describe("the maker's files", () => {
  test('give the identity and the serial number of the device', () => {
    expect(readManufacturerIdentity(files())).toMatchObject({ serialNumber: 'SN-1', key: issued.keyPem });
  });

  test('may come with the chain in a file of its own', () => {
    const [leaf = '', ...rest] = issued.certificatePem.split(/(?=-----BEGIN)/);
    const read = readManufacturerIdentity({ ...files(), certificate: leaf, chain: rest.join('') });
    expect(read.certificates.match(/BEGIN CERTIFICATE/g)).toHaveLength(2);
  });

  test.each<[string, () => Partial<ReturnType<typeof files>>, string]>([
    ['hold no certificate', () => ({ certificate: 'x' }), 'openssl x509'],
    [
      'start with a CA',
      () => ({ certificate: formatPem('CERTIFICATE', authority.rootDer) }),
      'the IDevID certificate is one of a CA',
    ],
    ['hold the key of another certificate', () => ({ key: otherKey() }), 'does not belong'],
    [
      'hold an encrypted key',
      () => ({
        key: createPrivateKey(issued.keyPem)
          .export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' })
          .toString(),
      }),
      'openssl pkcs8',
    ],
  ])('that %s are refused with advice', (_name, change, text) => {
    expect(usageOf(() => readManufacturerIdentity({ ...files(), ...change() }))).toContain(text);
  });
});

describe('an answer over MQTT', () => {
  const answer = {
    version: 1,
    requestId: 'a-1',
    status: 403,
    code: 'X',
    detail: 'no',
    attemptId: 'a-1',
    transient: false,
  };

  test('is read, on one line, whatever else stands in it', () => {
    const sent = { ...answer, detail: 'no\n\u001b[31mred', future: [] };
    expect(parseCsrAnswer(Buffer.from(JSON.stringify(sent)))).toEqual({ ...answer, detail: 'no [31mred' });
  });

  test('without a word about it is transient as its status is', () => {
    const { transient: _gone, ...silent } = answer;
    expect(parseCsrAnswer(Buffer.from(JSON.stringify({ ...silent, status: 503 })))?.transient).toBe(true);
    expect(parseCsrAnswer(Buffer.from(JSON.stringify(silent)))?.transient).toBe(false);
  });

  test.each(['', '[]', 'null', '{', '{"version":2,"requestId":"a","status":200}', '{"version":1,"status":200}'])(
    'that is %j is none',
    (text) => {
      expect(parseCsrAnswer(Buffer.from(text))).toBeUndefined();
    },
  );
});

describe('CSR attributes', () => {
  test('ask for binding by the bare OID challengePassword (RFC 9908 5.2)', () => {
    const vector = 'MDIGCSqGSIb3DQEJBzASBgcqhkjOPQIBMQcGBSuBBAAiBgcrBgEBAQEWBggqhkjOPQQDAw==';
    expect(asksForBinding(Buffer.from(vector, 'base64'))).toBe(true);
  });

  test('without it, and without any, do not', () => {
    expect(asksForBinding(Buffer.from('MAA=', 'base64'))).toBe(false);
    expect(asksForBinding(Buffer.from('300a06082a8648ce3d040302', 'hex'))).toBe(false);
  });
});

describe('agent.json', () => {
  const config = {
    version: 1,
    est: { host: 'gw', port: 8443 },
    mqtt: { host: 'gw', port: 8883 },
    deviceId: 'pump-17',
    trustDomain: 'x',
    rootSha256: 'a'.repeat(64),
    keyProvider: 'software',
  };

  test('of an older agent renews by either way', () => {
    expect(parseAgentConfig(config).renewVia).toBe('auto');
  });

  test('with a way nobody knows is refused', () => {
    expect(() => parseAgentConfig({ ...config, renewVia: 'pigeon' })).toThrow(/renewVia is one of auto, est, mqtt/);
  });
});
