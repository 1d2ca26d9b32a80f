import { execFile } from 'node:child_process';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { parseCertificate } from '#ca/pkix/certificate.ts';
import { OID } from '#ca/pkix/oids.ts';
import { hasOnlyExpired } from '#gateway/mqtt/expired-certificate.ts';
import type { MqttLimits } from '#gateway/mqtt/mqtt-limits.ts';
import {
  type Authority,
  type Credential,
  createAuthority,
  selfSigned,
  withWrongSignature,
} from '#test/fixtures/mqtt/authority.ts';
import { RawClient } from '#test/fixtures/mqtt/raw-client.ts';
import { type Known, TestDoor } from '#test/fixtures/mqtt/test-door.ts';

const VERSIONS = ['TLSv1.2', 'TLSv1.3'] as const;
const MINUTE = 60_000;
const past = () => Date.now() - MINUTE;

let authority: Authority;
let maker: Authority;
let door: TestDoor;
let device: Known;

beforeAll(async () => {
  [authority, maker] = await Promise.all([createAuthority(), createAuthority('Maker')]);
});
beforeEach(() => open());
afterEach(() => door.close());

async function open(limits: Partial<MqttLimits> = {}): Promise<void> {
  door = await TestDoor.open(limits, { authority, manufacturers: [maker.intermediate.pem, maker.root.pem] });
  device = await door.device('press-1', { notAfter: past() });
}

const issuers = () => [parseCertificate(authority.intermediate.der)];

async function reload(issuers: Credential[]): Promise<void> {
  const server = await authority.server();
  door.door.reload({
    certificateChain: server.chain,
    privateKey: server.keyPem,
    issuers: issuers.map(({ pem }) => pem),
    manufacturers: [],
  });
}

describe.each(VERSIONS)('with %s', (version) => {
  const only = { minVersion: version, maxVersion: version };

  /** @returns why TLS refused it; nothing behind the door was asked. */
  async function refusalOf(credential: Credential): Promise<string | undefined> {
    const client = await RawClient.open(door, credential, only);
    await client.closed;
    await door.until(() => door.refused.length === 1);
    expect(door.requests).toEqual([]);
    return door.refused[0]?.code;
  }

  test.each([
    ['alone', []],
    ['with its intermediate', ['intermediate']],
    ['with the whole chain', ['intermediate', 'root']],
  ] as const)(
    'a certificate of ours that has ended is judged at CONNECT, and told to have ended: shown %s',
    async (_, more) => {
      const chain = device.credential.pem + more.map((ca) => authority[ca].pem).join('');
      const client = await RawClient.open(door, { ...device.credential, chain }, only);
      expect(await client.connect({ clientId: 'press-1' })).toBe(5);
      await client.closed;
      expect(door.requests).toMatchObject([{ hasExpired: true }]);
      expect(door.requests[0]?.der.equals(device.credential.der)).toBe(true);
      const { serial } = device.credential;
      expect(door.refused).toMatchObject([
        { code: 'CERTIFICATE_EXPIRED', deviceId: 'press-1', serial, address: '127.0.0.1' },
      ]);
      expect(door.opened).toEqual([]);
    },
  );

  test('one that has not ended is told so', async () => {
    const valid = await door.device('press-2');
    const client = await RawClient.open(door, valid.credential, only);
    expect(await client.connect({ clientId: 'press-2' })).toBe(0);
    expect(door.requests).toMatchObject([{ hasExpired: false }]);
    client.destroy();
  });

  const ended: [string, () => Promise<Credential>][] = [
    ['of a foreign CA', async () => (await createAuthority('Foreign')).issue('press-1', { notAfter: past() })],
    [
      'of a foreign CA with the names of ours, and a serial of ours',
      async () =>
        (await createAuthority('Test')).issue('press-1', { notAfter: past(), serial: device.credential.serial }),
    ],
    [
      'of a foreign CA with the names of ours, shown with our intermediate',
      async () => {
        const leaf = await (await createAuthority('Test')).issue('press-1', { notAfter: past() });
        return { ...leaf, chain: leaf.pem + authority.intermediate.pem };
      },
    ],
    ['that signed itself, with a serial of ours', () => selfSigned('press-1', device.credential.serial, past())],
    ['of ours whose signature is wrong', async () => withWrongSignature(device.credential)],
    [
      'of another intermediate of our root, with the name of ours',
      async () => (await authority.sibling({ name: 'Test Intermediate' })).issue('press-1', { notAfter: past() }),
    ],
    [
      'of another intermediate of our root, shown with ours and the root',
      async () => {
        const leaf = await (await authority.sibling()).issue('press-1', { notAfter: past() });
        return { ...leaf, chain: leaf.chain + authority.intermediate.pem + authority.root.pem };
      },
    ],
    [
      'of a CA that our intermediate must not have made',
      async () => (await authority.below()).issue('press-1', { notAfter: past() }),
    ],
    ['of a maker that is trusted', () => maker.issue('press-1', { notAfter: past() })],
    ['of ours for a server', () => authority.issue('press-1', { notAfter: past(), usage: 'server' })],
    ['of ours for a claim', () => authority.issue('press-1', { notAfter: past(), uri: 'spiffe://test/claim/press-1' })],
    [
      'of ours for a registrar',
      () =>
        authority.issue('press-1', { notAfter: past(), purpose: OID.cmcRa, uri: 'spiffe://test/registrar/press-1' }),
    ],
    [
      'of ours for a device with a purpose more',
      () => authority.issue('press-1', { notAfter: past(), purpose: OID.cmcRa }),
    ],
  ];
  test.each(ended)('a certificate that has ended is refused by TLS: %s', async (_, make) => {
    expect(await refusalOf(await make())).toBe('TLS_CERTIFICATE_EXPIRED');
  });

  test('one of ours that is not valid yet is refused by TLS', async () => {
    const early = await authority.issue('press-1', { notBefore: Date.now() + 10 * MINUTE });
    expect(await refusalOf(early)).toBe('TLS_CERTIFICATE_NOT_YET_VALID');
  });

  test('one that has ended is refused by TLS when its issuing CA has ended, too', async () => {
    const over = await authority.sibling({ notAfter: past() });
    await reload([over.intermediate]);
    expect(await refusalOf(await over.issue('press-1', { notAfter: past() - MINUTE }))).toBe('TLS_CERTIFICATE_EXPIRED');
  });

  test('an issuing CA that has ended is no client', async () => {
    const over = await authority.sibling({ notAfter: past() });
    await reload([over.intermediate]);
    expect(await refusalOf(over.intermediate)).toBe('TLS_CERTIFICATE_EXPIRED');
  });

  test('one that has ended is refused by TLS once its issuer is trusted no more, and let through of a new one', async () => {
    const next = await authority.sibling({ name: 'Test Next' });
    await reload([next.intermediate]);
    expect(await refusalOf(device.credential)).toBe('TLS_CERTIFICATE_EXPIRED');
    const client = await RawClient.open(door, await next.issue('press-1', { notAfter: past() }), only);
    expect(await client.connect({ clientId: 'press-1' })).toBe(5);
    expect(door.requests).toMatchObject([{ hasExpired: true }]);
  });

  test('one that has ended is never resumed, and judged each time', async () => {
    const { credential } = await door.expired('press-3');
    const first = await RawClient.open(door, credential, only);
    const sessions: Buffer[] = [];
    first.socket.on('session', (session: Buffer) => sessions.push(session));
    expect(await first.connect({ clientId: 'press-3' })).toBe(0);
    await first.ping();
    const session = sessions.at(-1) ?? first.socket.getSession();
    await first.end();
    const second = await RawClient.open(door, credential, { ...only, ...(session === undefined ? {} : { session }) });
    expect(await second.connect({ clientId: 'press-3' })).toBe(0);
    expect(second.socket.isSessionReused()).toBe(false);
    expect(door.requests).toMatchObject([{ hasExpired: true }, { hasExpired: true }]);
    second.destroy();
  });

  test('who shows no certificate is told so by an alert', async () => {
    const said = await new Promise<string>((resolve) => {
      const flag = version === 'TLSv1.2' ? '-tls1_2' : '-tls1_3';
      const args = ['s_client', '-connect', `127.0.0.1:${door.port}`, flag, '-servername', 'localhost', '-ign_eof'];
      execFile('openssl', args, (_error, stdout, stderr) => resolve(stdout + stderr)).stdin?.end();
    });
    // RFC 8446 6.2: certificate_required; RFC 5246 7.4.6: handshake_failure.
    expect(said).toMatch(version === 'TLSv1.2' ? /alert number 40/ : /alert number 116/);
    await door.until(() => door.refused.length === 1);
    expect(door.refused).toMatchObject([{ code: 'TLS_NO_CERTIFICATE' }]);
  });
});

describe('nothing but its end is wrong with a certificate', () => {
  test('from the second after its last one on (RFC 5280 4.1.2.5)', async () => {
    const { der, notAfter } = device.credential;
    expect(hasOnlyExpired(der, issuers(), notAfter - 1)).toBe(false);
    expect(hasOnlyExpired(der, issuers(), notAfter + 999)).toBe(false);
    expect(hasOnlyExpired(der, issuers(), notAfter + 1000)).toBe(true);
  });

  test('never before its beginning, whatever the clock says', () => {
    expect(hasOnlyExpired(device.credential.der, issuers(), 0)).toBe(false);
  });

  test('not when its issuer had not begun or has ended by then', () => {
    const { notAfter } = authority.intermediate;
    expect(hasOnlyExpired(device.credential.der, issuers(), notAfter + 1000)).toBe(false);
    expect(hasOnlyExpired(device.credential.der, issuers(), notAfter)).toBe(true);
  });

  test('not when it cannot be read, or nobody is trusted', () => {
    expect(hasOnlyExpired(Buffer.from('3000', 'hex'), issuers(), Date.now())).toBe(false);
    expect(hasOnlyExpired(Buffer.alloc(0), issuers(), Date.now())).toBe(false);
    expect(hasOnlyExpired(device.credential.der, [], Date.now())).toBe(false);
  });
});

describe('a certificate that may ask for its successor', () => {
  test('counts like a refused one each time it comes, and does not hurt others', async () => {
    await door.close();
    await open({ maxRefusals: 3 });
    const { credential } = await door.expired('press-3');
    const codes: (number | 'closed')[] = [];
    for (let i = 0; i < 5; i += 1) {
      const client = await RawClient.open(door, credential);
      codes.push(await client.connect({ clientId: 'press-3' }));
      client.destroy();
      await client.closed;
    }
    expect(codes).toEqual([0, 0, 0, 'closed', 'closed']);
    expect(door.requests).toHaveLength(3);
    const other = await door.device('press-2');
    expect(await (await RawClient.open(door, other.credential)).connect({ clientId: 'press-2' })).toBe(0);
  });

  test('gets its address no place back by knocking', async () => {
    await door.close();
    await open({ maxRefusals: 2, addressBurst: 4, addressPerSecond: 0, maxWaitMs: 200 });
    const { credential } = await door.expired('press-3');
    for (let i = 0; i < 12; i += 1) {
      const client = await RawClient.open(door, credential);
      await client.connect({ clientId: 'press-3' });
      client.destroy();
      await client.closed;
    }
    await door.until(() => door.lines.some(({ message }) => message === 'connections dropped before TLS'));
  });

  test('does not take the place of its device, nor of a claim, and has one session', async () => {
    const live = await door.device('press-3');
    const client = await RawClient.connected(door, live.credential, { clientId: 'press-3' });
    const { credential } = await door.expired('press-3');
    const claim = await door.claim('press-3');
    const claimant = await RawClient.connected(door, claim.credential, { clientId: 'press-3' });
    const first = await RawClient.connected(door, credential, { clientId: 'press-3' });
    const second = await RawClient.connected(door, credential, { clientId: 'press-3' });
    await first.closed;
    expect(door.enrolled).toMatchObject([{ grounds: 'expired', reason: 'taken-over' }]);
    for (const one of [client, claimant, second]) expect(await one.ping()).toBe('acked');
    expect(door.door.broker.sessions()).toMatchObject([{ serial: live.credential.serial }]);
    expect(door.closed).toEqual([]);
    for (const one of [client, claimant, second]) one.destroy();
  });

  test('takes no place from those who enroll for the first time, however many there are', async () => {
    await door.close();
    await open({ maxEnrollmentSessions: 1, enrollmentPatienceMs: 0 });
    const claim = await door.claim('press-2');
    const claimant = await RawClient.connected(door, claim.credential, { clientId: 'press-2' });
    const [first, second] = [await door.expired('press-3'), await door.expired('press-4')];
    const one = await RawClient.connected(door, first.credential, { clientId: 'press-3' });
    const other = await RawClient.connected(door, second.credential, { clientId: 'press-4' });
    await one.closed;
    expect(await claimant.ping()).toBe('acked');
    expect(await other.ping()).toBe('acked');
    expect(door.enrolled).toMatchObject([{ deviceId: 'press-3', grounds: 'expired' }]);
    claimant.destroy();
    other.destroy();
  });

  test('asks as the device that it is, with the certificate that it has shown', async () => {
    const { credential } = await door.expired('press-3');
    const client = await RawClient.connected(door, credential, { clientId: 'press-3' });
    const message = JSON.stringify({ version: 1, requestId: 'r-1', csr: 'AAAA' });
    expect(await client.publish('v1/enroll/press-3/out/csr', message)).toBe('acked');
    expect(door.asked).toMatchObject([{ sender: { kind: 'device', deviceId: 'press-3', address: '127.0.0.1' } }]);
    expect(door.asked[0]?.sender.peer.equals(credential.der)).toBe(true);
    client.destroy();
  });

  test('is refused when it is revoked while it is let in', async () => {
    const known = await door.expired('press-3');
    door.admit = (request) => {
      door.revoke(known);
      return door.judge(request);
    };
    const client = await RawClient.open(door, known.credential);
    expect(await client.connect({ clientId: 'press-3' })).toBe(5);
    expect(door.refused).toMatchObject([{ code: 'CERTIFICATE_REVOKED', deviceId: 'press-3' }]);
    expect(door.enrolling).toEqual([]);
  });

  test('has its session until the grace ends, and is ended when it is revoked', async () => {
    const { credential } = await door.expired('press-3', { graceMs: MINUTE + 3000 });
    const client = await RawClient.connected(door, credential, { clientId: 'press-3' });
    expect(await client.ping()).toBe('acked');
    door.clockOffset = 10_000;
    await client.closed;
    await door.until(() => door.enrolled.length === 1);
    expect(door.enrolled).toMatchObject([{ deviceId: 'press-3', grounds: 'expired', reason: 'certificate-expired' }]);
    const other = await door.expired('press-4');
    const again = await RawClient.connected(door, other.credential, { clientId: 'press-4' });
    door.revoke(other);
    await again.closed;
    await door.until(() => door.enrolled.length === 2);
    expect(door.enrolled[1]).toMatchObject({ deviceId: 'press-4', reason: 'revoked' });
  });

  test('is found by its serial when it is revoked, and says nothing from then on', async () => {
    const { credential } = await door.expired('press-3');
    const client = await RawClient.connected(door, credential, { clientId: 'press-3' });
    const marked = door.door.broker.markRevoked([credential.serial as never]);
    expect(marked).toMatchObject([{ deviceId: 'press-3', serial: credential.serial }]);
    expect(await client.subscribe('v1/enroll/press-3/in/certificate')).toEqual([128]);
    await client.publish('v1/enroll/press-3/out/csr', JSON.stringify({ version: 1, requestId: 'r', csr: 'AAAA' }));
    expect(door.asked).toEqual([]);
    expect(await door.door.broker.close(marked, 'revoked: test')).toBe(1);
    await client.closed;
  });
});
