import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { connect, createServer } from 'node:tls';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseCertificate } from '#ca/pkix/certificate.ts';
import { parseCompactJws } from '#ca/pkix/compact-jws.ts';
import { parsePem } from '#ca/pkix/pem.ts';
import { parseCrl } from '#ca/revocation/parse-crl.ts';
import { MAX_FLEET_NOTICE_BYTES, parseNotice } from '#gateway/contract/notice.ts';
import { FLEET_TOPICS } from '#gateway/contract/topics.ts';
import type { Credential } from '#test/fixtures/mqtt/authority.ts';
import { RawClient } from '#test/fixtures/mqtt/raw-client.ts';
import { AgentProcess } from '#test/fixtures/processes/agent-process.ts';
import { enrollByHand } from '#test/fixtures/processes/device-credential.ts';
import { eventually } from '#test/fixtures/processes/eventually.ts';
import { type GatewayProcess, startGateway } from '#test/fixtures/processes/gateway-process.ts';
import { mqttDoorOf } from '#test/fixtures/processes/mqtt-door.ts';
import { lacks } from '#test/fixtures/processes/outside-tools.ts';

const exec = promisify(execFile);

/** Node takes one list from each text. */
function pemsIn(text: string): string[] {
  return text.match(/-----BEGIN [^-]+-----[^-]+-----END [^-]+-----/g) ?? [];
}

describe.skipIf(lacks('openssl'))('a service beside the agent', () => {
  let gateway: GatewayProcess;
  let press: AgentProcess;
  beforeAll(async () => {
    gateway = await startGateway({ staysReachable: true });
    press = new AgentProcess(gateway.folder, 'press-07');
    await press.enroll((await gateway.addDevice('press-07')).joinUrl);
    await press.connect(
      '--crl-delay',
      '1',
      '--hook',
      'printenv GATEHOUSE_CHANGED GATEHOUSE_CRLS >> "$GATEHOUSE_STATE/hooked"',
    );
  });
  afterAll(async () => {
    await press?.stop();
    await gateway?.dispose();
  });

  const crlFile = () => join(press.stateDir, 'crl', 'current.crl');
  const readRevoked = async () =>
    JSON.parse(await readFile(join(press.stateDir, 'crl', 'revoked.json'), 'utf8')) as {
      revoked: { serial: string }[];
    };

  /** As the service would: with nothing but what the agent keeps. */
  async function judge(pem: string): Promise<string> {
    const peer = join(gateway.folder, 'peer.pem');
    await writeFile(peer, pem);
    const [issuers, crls] = ['issuers.pem', 'all.pem'].map((name) => join(press.stateDir, 'crl', name)) as [
      string,
      string,
    ];
    const trust = join(press.stateDir, 'trust.pem');
    // The whole chain: the CAs are judged by the lists of their roots.
    const args = ['verify', '-crl_check_all', '-CAfile', trust, '-untrusted', issuers, '-CRLfile', crls, peer];
    return exec('openssl', args).then(
      ({ stdout }) => stdout,
      (error: { stderr: string }) => error.stderr,
    );
  }

  const isJudgedGood = (pem: string) =>
    eventually(
      'CRLs of the whole chain by which it is good',
      () => judge(pem),
      (said) => said.includes('OK'),
    );

  const readPems = async (name: string) => pemsIn(await readFile(join(press.stateDir, name), 'utf8'));

  /** A service in Node, which checks every certificate of the chain when it is given lists at all. */
  async function serveInNode() {
    const [anchors, issuers, crl] = await Promise.all(['trust.pem', 'crl/issuers.pem', 'crl/all.pem'].map(readPems));
    const own = await gatewayIdentity();
    const server = createServer({
      ...own,
      ca: [...(anchors ?? []), ...(issuers ?? [])],
      crl: crl ?? [],
      requestCert: true,
    });
    server.on('tlsClientError', () => {});
    server.on('secureConnection', (socket) => socket.on('error', () => {}).end('hello'));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    return {
      /** @returns what the service said, or nothing when it cut the connection. */
      ask: async ({ chain: cert, keyPem: key }: Credential) => {
        const socket = connect({ host: '127.0.0.1', port, cert, key, rejectUnauthorized: false });
        let said = '';
        socket
          .on('error', () => {})
          .on('data', (part) => {
            said += String(part);
          });
        await new Promise((resolve) => socket.once('close', resolve));
        return said;
      },
      close: () => server.close(),
    };
  }

  async function gatewayIdentity(): Promise<{ cert: string; key: string }> {
    const [cert, key] = await Promise.all(
      ['server.pem', 'server.key.pem'].map((name) => readFile(join(gateway.dataDir, 'gateway', name), 'utf8')),
    );
    return { cert: cert ?? '', key: key ?? '' };
  }

  test('checks a peer with the files of the agent alone: good before, revoked after', async () => {
    const peer = await enrollByHand(gateway, 'peer-1');
    await press.logged('CRL fetched');
    await isJudgedGood(peer.pem);
    const good = await serveInNode();
    expect(await good.ask(peer)).toBe('hello');
    good.close();
    const before = await press.status();
    expect(before.crl).toMatchObject({
      file: 'crl/current.crl',
      number: expect.any(Number),
      stale: false,
      error: null,
    });

    await gateway.gatehouse('revoke', 'device', 'peer-1', '--reason', 'keyCompromise');
    const heard = async () => (await readRevoked()).revoked.some(({ serial }) => serial === peer.serial);
    await eventually('the news of the revocation', heard, (isHeard) => isHeard);
    await eventually(
      'a CRL that has it',
      () => judge(peer.pem),
      (said) => said.includes('certificate revoked'),
    );
    const service = await serveInNode();
    expect(await service.ask(peer)).toBe('');
    expect(await service.ask(await enrollByHand(gateway, 'peer-3'))).toBe('hello');
    service.close();
    const after = await press.status();
    expect(after.crl?.number).toBeGreaterThan(before.crl?.number ?? 0);
    await press.logged('hook ended', { changed: 'crl', exitCode: 0 });
    expect(await readFile(join(press.stateDir, 'hooked'), 'utf8')).toMatch(/^crl\n\/.*\/crl\/all\.pem\n/);
  });

  test('keeps the CRL over restarts of agent and gateway', async () => {
    const kept = await readFile(crlFile());
    await press.stop();
    await gateway.kill9();
    await gateway.restart();
    expect(await readFile(crlFile())).toEqual(kept);
    await press.connect('--crl-delay', '1');
    // The same, or already a newer one.
    const now = await readFile(crlFile());
    if (!now.equals(kept)) expect(parseCrl(now).number).toBeGreaterThan(parseCrl(kept).number);
    expect((await press.status()).crl).toMatchObject({ stale: false });
    const peer = await enrollByHand(gateway, 'peer-2');
    await gateway.gatehouse('revoke', 'device', 'peer-2', '--reason', 'keyCompromise');
    await press.logged('CRL fetched');
    await eventually(
      'a CRL that has it',
      () => judge(peer.pem),
      (said) => said.includes('certificate revoked'),
    );
  });

  test.each([[], ['--root']])(
    'checks peers of the CA before and of the one after it (rollover %s)',
    async (...kind) => {
      const name = kind.length === 0 ? 'intermediate' : 'root';
      const old = await Promise.all(['good', 'bad'].map((is) => enrollByHand(gateway, `${name}-old-${is}`)));
      for (const step of ['prepare', 'announce', 'activate'])
        await gateway.gatehouse('ca', 'rollover', step, ...(step === 'prepare' ? kind : []));
      const fresh = await Promise.all(['good', 'bad'].map((is) => enrollByHand(gateway, `${name}-new-${is}`)));
      for (const age of ['old', 'new'])
        await gateway.gatehouse('revoke', 'device', `${name}-${age}-bad`, '--reason', 'keyCompromise');
      for (const [good, bad] of [old, fresh]) {
        await eventually(
          'a CRL that has it',
          () => judge(bad?.pem ?? ''),
          (said) => said.includes('certificate revoked'),
        );
        await isJudgedGood(good?.pem ?? '');
      }
    },
  );

  test('refuses whatever a CA has certified that a person has revoked with the root key', async () => {
    const good = await enrollByHand(gateway, 'below-1');
    await isJudgedGood(good.pem);
    const { serial } = parseCertificate(
      parsePem(await readFile(join(gateway.dataDir, 'ca', 'intermediate.pem'), 'utf8'), 'CERTIFICATE')[0] ??
        Buffer.of(),
    );
    await gateway.gatehouse('ca', 'crl', '--revoke', serial, '--reason', 'cACompromise');
    await eventually(
      'the list of the root that has its CA',
      () => judge(good.pem),
      (said) => /error 23 at 1 depth lookup: ?certificate revoked/.test(said),
    );
  }, 60_000);

  test('a subscriber gets the whole list, retained, in a signed notice below its budget', async () => {
    const service = await enrollByHand(gateway, 'service-1');
    const client = await RawClient.connected(mqttDoorOf(gateway), service, { clientId: 'service-1' });
    await client.subscribe(FLEET_TOPICS.revocations);
    const { payload } = await client.message(FLEET_TOPICS.revocations);
    expect(payload.length).toBeLessThanOrEqual(MAX_FLEET_NOTICE_BYTES);
    const notice = parseNotice(parseCompactJws(payload.toString()).payload);
    expect(notice).toMatchObject({ deviceId: '*', kind: 'revocations', body: { full: true, since: 0 } });
    client.destroy();
  });
});
