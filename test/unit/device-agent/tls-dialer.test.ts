import type { AddressInfo } from 'node:net';
import { createServer, type Server } from 'node:net';
import { createServer as createTlsServer, getCACertificates, setDefaultCACertificates } from 'node:tls';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { OID } from '#ca/pkix/oids.ts';
import type { AgentError } from '#device-agent/domain/agent-error.ts';
import type { GatewayTrust } from '#device-agent/ports/est-client.ts';
import { dialTls } from '#device-agent/runtime/tls-dialer.ts';
import { type IssuedWithKey, TestAuthority } from '#test/fixtures/device-agent/test-authority.ts';

let authority: TestAuthority;
let good: IssuedWithKey;
const servers: Server[] = [];
beforeAll(async () => {
  authority = await TestAuthority.create();
  good = await authority.issueServer();
});
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

function listen(server: Server): Promise<number> {
  servers.push(server);
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port));
  });
}

function serve(identity: IssuedWithKey): Promise<number> {
  const server = createTlsServer({ key: identity.keyPem, cert: identity.certificatePem }, (socket) =>
    socket.on('error', () => {}),
  );
  server.on('tlsClientError', () => {});
  return listen(server);
}

async function dial(
  port: number,
  trust: GatewayTrust | 'unverified',
  host = '127.0.0.1',
  { signal, timeoutMs = 60_000 }: { signal?: AbortSignal; timeoutMs?: number } = {},
): Promise<'trusted' | AgentError> {
  try {
    const socket = await dialTls({ address: { host, port }, trust, protocol: 'mqtt', timeoutMs }, signal);
    socket.destroy();
    return 'trusted';
  } catch (error) {
    return error as AgentError;
  }
}

const anchors = () => ({ anchors: [authority.rootDer] });
/** As on a device that boots in 1970: dates are not judged, all else is. */
const noClock = (floor = 1) => ({ ...anchors(), floor });

describe.each([
  ['with a good clock', () => anchors()],
  ['without a clock', () => noClock()],
])('dialling %s', (_name, trust) => {
  test('trusts the gateway of the pinned root', async () => {
    expect(await dial(await serve(good), trust())).toBe('trusted');
    expect(await dial(await serve(good), trust(), 'localhost')).toBe('trusted');
  });
  test('does not trust a gateway of another root', async () => {
    const other = await (await TestAuthority.create()).issueServer();
    expect(await dial(await serve(other), trust())).toMatchObject({ code: 'GATEWAY_UNTRUSTED' });
  });
  test('does not trust a certificate of this root for another purpose', async () => {
    expect(await dial(await serve(await authority.issueNoticeSigner(OID.clientAuth)), trust())).toMatchObject({
      code: 'GATEWAY_UNTRUSTED',
    });
  });
  test('does not trust a certificate for another host', async () => {
    const elsewhere = await authority.issueServer(3600, 300, [{ type: 'dns', value: 'other.example' }]);
    expect(await dial(await serve(elsewhere), trust())).toMatchObject({ code: 'GATEWAY_UNTRUSTED' });
  });
  test('does not take plain TCP for a gateway', async () => {
    const port = await listen(createServer((socket) => socket.end('220 hello\r\n')));
    expect(await dial(port, trust())).toMatchObject({ code: 'GATEWAY_UNTRUSTED' });
  });
});

test('no certificate authority of the system is believed in (RFC 7030 3.3.1)', async () => {
  const other = await TestAuthority.create();
  const port = await serve(await other.issueServer());
  const before = getCACertificates('default');
  try {
    setDefaultCACertificates([...before, other.root.certificate.toString('pem')]);
    expect(await dial(port, anchors())).toMatchObject({ code: 'GATEWAY_UNTRUSTED' });
    expect(await dial(port, noClock())).toMatchObject({ code: 'GATEWAY_UNTRUSTED' });
    expect(await dial(port, { anchors: [] })).toMatchObject({ code: 'GATEWAY_UNTRUSTED' });
  } finally {
    setDefaultCACertificates(before);
  }
});

describe('dates of the gateway', () => {
  test('count when the clock can be right', async () => {
    const expired = await authority.issueServer(-60, 3600);
    expect(await dial(await serve(expired), anchors())).toMatchObject({
      code: 'GATEWAY_UNTRUSTED',
      advice: expect.stringContaining('clock'),
    });
  });
  test('do not count when there is no clock, except below what is known for sure', async () => {
    const expired = await authority.issueServer(-60, 3600);
    expect(await dial(await serve(expired), noClock())).toBe('trusted');
    expect(await dial(await serve(expired), noClock(Date.now()))).toMatchObject({ code: 'GATEWAY_UNTRUSTED' });
  });
});

describe('a connection that does not come about', () => {
  test('is told apart: nothing listens, closed during the handshake, silent, given up', async () => {
    const server = createServer();
    const free = await listen(server);
    await new Promise((resolve) => server.close(resolve));
    expect(await dial(free, anchors())).toMatchObject({
      code: 'GATEWAY_UNREACHABLE',
      message: expect.stringContaining('nothing listens'),
    });
    const closing = await listen(createServer((socket) => socket.once('data', () => socket.destroy())));
    // No alert, no answer: a gateway with too many at its door does this too, and it is no refusal.
    expect(await dial(closing, anchors())).toMatchObject({
      code: 'GATEWAY_UNREACHABLE',
      message: expect.stringContaining('during the TLS handshake'),
    });
    const silent = await listen(createServer());
    expect(await dial(silent, anchors(), '127.0.0.1', { timeoutMs: 500 })).toMatchObject({
      code: 'GATEWAY_UNREACHABLE',
      message: expect.stringContaining('does not answer'),
    });
    expect(await dial(silent, anchors(), '127.0.0.1', { signal: AbortSignal.abort() })).toMatchObject({
      code: 'STOPPED',
    });
  });
  test('to an unknown name says so', async () => {
    expect(await dial(1, anchors(), 'no-such-host.invalid')).toMatchObject({ code: 'GATEWAY_UNREACHABLE' });
  });
});
