import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseNotice } from '#gateway/contract/notice.ts';
import type { AuditEvent, DeviceDetail, DeviceRevoked } from '#gateway/contract/operator-api.ts';
import { STATUS_PATHS } from '#gateway/contract/status-paths.ts';
import { makeKey } from '#test/fixtures/ca/keys.ts';
import { RawClient } from '#test/fixtures/mqtt/raw-client.ts';
import { AgentProcess } from '#test/fixtures/processes/agent-process.ts';
import { enrollByHand, makeCsr } from '#test/fixtures/processes/device-credential.ts';
import { basic, postCsr } from '#test/fixtures/processes/est-exchange.ts';
import { eventually } from '#test/fixtures/processes/eventually.ts';
import { type GatewayProcess, startGateway } from '#test/fixtures/processes/gateway-process.ts';
import { mqttDoorOf } from '#test/fixtures/processes/mqtt-door.ts';
import { openssl, serialsOnCrl, verifyWithOpenssl } from '#test/fixtures/processes/openssl.ts';
import { lacks } from '#test/fixtures/processes/outside-tools.ts';

const withoutOpenssl = lacks('openssl');

describe('a revocation', () => {
  let gateway: GatewayProcess;
  let files: { root: string; intermediate: string };
  beforeAll(async () => {
    gateway = await startGateway();
    files = { root: gateway.ready.rootPem, intermediate: join(gateway.dataDir, 'ca', 'intermediate.pem') };
  });
  afterAll(() => gateway?.dispose());

  function revoke(deviceId: string, reason: string): Promise<DeviceRevoked> {
    return gateway.operator.call<DeviceRevoked>('revokeDevice', { params: [deviceId], body: { reason } });
  }

  /** The CRL that lists this one: two in one second would look alike, so the newer may take a second to appear. */
  function crlWith(serial: string): Promise<Buffer> {
    return eventually(
      `a CRL that lists ${serial}`,
      async () => Buffer.from(await (await fetch(new URL(STATUS_PATHS.crl, gateway.ready.status.url))).arrayBuffer()),
      (crl) => crl.includes(Buffer.from(serial, 'hex')),
    );
  }

  describe('of a connected agent', () => {
    let press: AgentProcess;
    let neighbour: AgentProcess;
    let revoked: DeviceRevoked;
    let mark: number;
    beforeAll(async () => {
      press = new AgentProcess(gateway.folder, 'press-07');
      neighbour = new AgentProcess(gateway.folder, 'press-08');
      for (const agent of [press, neighbour]) {
        await agent.enroll((await gateway.addDevice(agent.deviceId)).joinUrl);
      }
      await Promise.all([press.connect(), neighbour.connect()]);
      await gateway.deviceSoon('press-07', 'a session', ({ session }) => session !== null);
      mark = gateway.mark();
      revoked = await gateway.gatehouse<DeviceRevoked>(
        'device',
        'revoke',
        'press-07',
        '--reason',
        'privilegeWithdrawn',
      );
    });
    afterAll(() => Promise.all([press?.stop(), neighbour?.stop()]));

    test('closes its live session at once, and says how long that took', async () => {
      const { serial } = await press.certificate();
      expect(revoked).toEqual({
        deviceId: 'press-07',
        serials: [serial],
        sessionsClosed: 1,
        closedAfterMs: expect.any(Number),
      });
      expect(revoked.closedAfterMs).toBeGreaterThan(0);
      // Not when the client owes its next sign of life.
      expect(revoked.closedAfterMs).toBeLessThan(20_000);
      expect(await gateway.device('press-07')).toMatchObject({ state: 'revoked', session: null });
      // Written behind the session's back, with others.
      const { lastSession } = await gateway.deviceSoon('press-07', 'the end of its session on record', wasRevoked);
      expect(lastSession?.serial).toBe(serial);
    });

    test('tells the device why, by a signed notice, before the line goes dead', async () => {
      await press.logged('this device has been revoked', { reason: 'privilegeWithdrawn' });
      const device = await gateway.device('press-07');
      // Acknowledged, or the second is over that it has for that; whether `done` still came through depends on who was faster.
      const states = revoked.closedAfterMs < 1_000 ? /^(received|done)$/ : /^(sent|received|done)$/;
      expect(device.notices).toEqual([
        expect.objectContaining({ kind: 'revoked', state: expect.stringMatching(states) }),
      ]);
      expect(await press.status()).toMatchObject({ exitCode: 1, state: 'revoked', connected: false });
    });

    test('is met by the agent, when it tries again, as CONNACK 5', async () => {
      await press.logged('no session', { outcome: 'refused' });
      await gateway.logged('session refused', { code: 'CERTIFICATE_REVOKED', deviceId: 'press-07' }, mark);
    });

    test('leaves every other session alone', async () => {
      expect(neighbour.daemon.find('session ended')).toBeUndefined();
      expect(gateway.process.find('session closed', { deviceId: 'press-08' }, mark)).toBeUndefined();
      expect((await gateway.device('press-08')).session).not.toBeNull();
    });

    test.skipIf(withoutOpenssl)('stands on the CRL, which openssl verifies and obeys', async () => {
      const [serial = ''] = revoked.serials;
      const crl = await crlWith(serial);
      expect(await serialsOnCrl(crl, files.intermediate)).toContain(serial);
      const { pem } = await gateway.operator.call<{ pem: string }>('showCertificate', { params: [serial] });
      const verdict = await verifyWithOpenssl(pem, { ...files, crl });
      expect(verdict.ok).toBe(false);
      expect(verdict.said).toContain('certificate revoked');
      const good = await neighbour.certificate();
      const other = await gateway.operator.call<{ pem: string }>('showCertificate', { params: [good.serial] });
      expect(await verifyWithOpenssl(other.pem, { ...files, crl })).toMatchObject({ ok: true });
    });

    test('happens in the order that leaves no gap: decided, denied, told, closed, published', async () => {
      const listAudit = () => gateway.operator.list<AuditEvent>('listAudit', {}, 200);
      const events = await eventually('the end of the session', listAudit, (list) => list.some(isItsEnd));
      const at = (action: string, subject: string) =>
        events.find((event) => event.action === action && event.subject.startsWith(subject))?.at ?? Number.NaN;
      const order = [
        at('certificate.revoked', 'press-07'),
        at('device.revoked', 'press-07'),
        events.find(isItsEnd)?.at ?? Number.NaN,
        at('crl.signed', 'crl'),
      ];
      expect(order.every(Number.isInteger)).toBe(true);
      expect(order.toSorted((a, b) => a - b)).toEqual(order);
      const said = gateway.process.log.slice(mark).map(({ message }) => message);
      expect(said.indexOf('session closed')).toBeLessThan(said.indexOf('session refused'));
    });

    test('can be followed by a new beginning: another ticket, another key', async () => {
      await press.stop();
      const added = await gateway.gatehouse<{ joinUrl: string }>('device', 'add', 'press-07', '--new-ticket');
      await press.enroll(added.joinUrl, '--replace');
      const device = await gateway.device('press-07');
      expect(device.state).toBe('enrolled');
      expect(device.certificates.map(({ state }) => state).sort()).toEqual(['active', 'revoked']);
      expect(await press.status()).toMatchObject({ exitCode: 0, state: 'enrolled' });
    });
  });

  test('of a stolen key warns nobody: no notice, the line goes dead', async () => {
    const thief = await enrollByHand(gateway, 'stolen-1');
    const client = await RawClient.connected(mqttDoorOf(gateway), thief, { clientId: 'stolen-1' });
    await client.subscribe('v1/d/stolen-1/in/#');
    expect(await revoke('stolen-1', 'keyCompromise')).toMatchObject({ sessionsClosed: 1, serials: [thief.serial] });
    await client.closed;
    expect(client.messages()).toEqual([]);
    expect((await gateway.device('stolen-1')).notices).toEqual([]);
    if (!withoutOpenssl) expect(await entryOnCrl(thief.serial)).toMatch(/Key Compromise/);
  });

  test.skipIf(withoutOpenssl)('carries its reason to the CRL', async () => {
    const { serial } = await enrollByHand(gateway, 'moved-1');
    await revoke('moved-1', 'affiliationChanged');
    expect(await entryOnCrl(serial)).toMatch(/Affiliation Changed/);
  });

  test('waits a second, and not for ever, for a device that does not listen', async () => {
    const mute = await enrollByHand(gateway, 'mute-1');
    const client = await RawClient.connected(mqttDoorOf(gateway), mute, { clientId: 'mute-1' });
    await client.subscribe('v1/d/mute-1/in/notice');
    const revoked = await revoke('mute-1', 'cessationOfOperation');
    await client.closed;
    // The notice came; nobody acknowledged it.
    const [message] = client.messages();
    const [, body = ''] = String(message?.payload).split('.');
    const notice = parseNotice(JSON.parse(Buffer.from(body, 'base64url').toString('utf8')));
    expect(notice).toMatchObject({ kind: 'revoked', deviceId: 'mute-1', body: { serials: [mute.serial] } });
    expect(revoked.closedAfterMs).toBeGreaterThan(900);
    expect(revoked.closedAfterMs).toBeLessThan(25_000);
  });

  test('suppresses the will of the session that it ends', async () => {
    await gateway.addGroup('watchers', { readFrom: ['default'] });
    const willing = await enrollByHand(gateway, 'willing-1');
    const watcher = await enrollByHand(gateway, 'watcher-1', { group: 'watchers' });
    const door = mqttDoorOf(gateway);
    const mark = gateway.mark();
    const client = await RawClient.connected(door, willing, {
      clientId: 'willing-1',
      will: { topic: 'v1/d/willing-1/out/state', payload: '{"not":"a report"}', qos: 1 },
    });
    await revoke('willing-1', 'superseded');
    await client.closed;
    // A will that is passed on is read by the gateway itself, which complains about this one.
    const after = await RawClient.connected(door, watcher, { clientId: 'watcher-1' });
    await after.ping();
    await gateway.logged('session opened', { deviceId: 'watcher-1' }, mark);
    expect(gateway.process.find('state report not understood', {}, mark)).toBeUndefined();
    after.destroy();
  });

  test('shuts every other way in, too: renewal, and a ticket that was still open', async () => {
    const key = makeKey();
    const credential = await enrollByHand(gateway, 'closed-1', { key });
    await revoke('closed-1', 'unspecified');
    const tls = { cert: credential.chain, key: credential.keyPem };
    const answer = await postCsr(gateway, 'simplereenroll', await makeCsr(key, { commonName: 'closed-1' }), { tls });
    expect(answer.status).toBe(403);
    expect(answer.body).toMatch(/^CERTIFICATE_REVOKED: /);
    const { ticket } = await gateway.addDevice('closed-2');
    expect(await revoke('closed-2', 'unspecified')).toEqual({
      deviceId: 'closed-2',
      serials: [],
      sessionsClosed: 0,
      closedAfterMs: 0,
    });
    const refused = await postCsr(gateway, 'simpleenroll', await makeCsr(key), { headers: basic('closed-2', ticket) });
    expect([refused.status, refused.body.split(':')[0]]).toEqual([403, 'TICKET_REVOKED']);
  });

  test('of a device nobody knows is refused', async () => {
    const { code, stderr } = await gateway.command('device', 'revoke', 'nobody', '--reason', 'keyCompromise', '--json');
    expect(code).toBe(1);
    expect(JSON.parse(stderr)).toMatchObject({ error: { code: 'NOT_FOUND' } });
  });

  test('counts in the metrics, with the time it took', async () => {
    const text = await (await fetch(new URL(STATUS_PATHS.metrics, gateway.ready.status.url))).text();
    expect(text).toMatch(/revo.*_count \d+/);
  });

  /** What openssl says about this entry of the CRL. */
  async function entryOnCrl(serial: string): Promise<string> {
    const text = await openssl(['crl', '-inform', 'DER', '-noout', '-text'], await crlWith(serial));
    return text.slice(text.indexOf(serial.toUpperCase())).split('Serial Number:')[0] ?? '';
  }
});

function wasRevoked({ lastSession }: DeviceDetail): boolean {
  return lastSession?.endReason.includes('revoked') === true;
}

function isItsEnd({ action, detail }: AuditEvent): boolean {
  return action === 'session.closed' && detail?.includes('revoked') === true;
}
