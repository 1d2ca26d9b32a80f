import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type {
  AuditEvent,
  CaDescription,
  CertificateDetail,
  CertificateSummary,
  DeviceAdded,
  DeviceDetail,
  DeviceRevoked,
  DeviceSummary,
  GroupDetail,
  RenewOrdered,
  TicketSummary,
} from '#gateway/contract/operator-api.ts';
import { makeKey } from '#test/fixtures/ca/keys.ts';
import { RawClient } from '#test/fixtures/mqtt/raw-client.ts';
import { certificateIn, credentialOf, makeCsr } from '#test/fixtures/processes/device-credential.ts';
import { basic, postCsr } from '#test/fixtures/processes/est-exchange.ts';
import { type GatewayProcess, startGateway } from '#test/fixtures/processes/gateway-process.ts';
import { mqttDoorOf } from '#test/fixtures/processes/mqtt-door.ts';
import { PROGRAMS, run } from '#test/fixtures/processes/program.ts';

const SERIAL = /^[0-9a-f]{2,40}$/;
const SHA256 = /^[0-9a-f]{64}$/;

describe('the operator types gatehouse', () => {
  let gateway: GatewayProcess;
  let client: RawClient | undefined;
  beforeAll(async () => {
    gateway = await startGateway();
  });
  afterAll(async () => {
    client?.destroy();
    await gateway?.dispose();
  });

  test('group add, show, set and list', async () => {
    const policy = ['--lifetime', '2d', '--keys', 'ec-p256,ed25519', '--read-from', 'default', '--owner', 'line 3'];
    const added = await gateway.gatehouse<GroupDetail>('group', 'add', 'line-3', ...policy);
    expect(added).toMatchObject({
      name: 'line-3',
      version: 1,
      devices: 0,
      policy: { lifetimeSeconds: 172_800, keys: ['ec-p256', 'ed25519'], readFrom: ['default'], owner: 'line 3' },
    });
    const changed = await gateway.gatehouse<GroupDetail>(
      'group',
      'set',
      'line-3',
      '--lifetime',
      '1d',
      '--read-from',
      '',
    );
    expect(changed).toMatchObject({ version: 2, policy: { lifetimeSeconds: 86_400, readFrom: [], owner: 'line 3' } });
    expect(await gateway.gatehouse('group', 'show', 'line-3')).toEqual(changed);
    const names = (await gateway.gatehouse<GroupDetail[]>('group', 'list')).map(({ name }) => name);
    expect(names).toEqual(expect.arrayContaining(['default', 'line-3']));
  });

  let added: DeviceAdded;
  test('device add: ticket and join URL, once', async () => {
    added = await gateway.gatehouse<DeviceAdded>('device', 'add', 'press-07', '--hardware-serial', 'SN 4711');
    expect(added).toEqual({
      deviceId: 'press-07',
      ticket: expect.stringMatching(/^[0-9a-z]{26}$/),
      joinUrl: `gatehouse://127.0.0.1:${gateway.ready.est.port}/press-07/${added.ticket}/${gateway.ready.rootSha256}`,
      expiresAt: expect.any(Number),
    });
    expect(added.expiresAt).toBeGreaterThan(Date.now());
    // Nowhere to be seen again, not in the list, not in the database.
    expect(JSON.stringify(await gateway.gatehouse('ticket', 'list'))).not.toContain(added.ticket);
    const files = ['gateway.db', 'gateway.db-wal'].map((name) => readFile(join(gateway.dataDir, name)).catch(() => ''));
    for (const file of await Promise.all(files)) expect(file.includes(added.ticket)).toBe(false);
    expect(gateway.process.log.some(({ text }) => text.includes(added.ticket))).toBe(false);
  });

  test('device show: before it has come', async () => {
    expect(await gateway.gatehouse<DeviceDetail>('device', 'show', 'press-07')).toMatchObject({
      deviceId: 'press-07',
      group: 'default',
      state: 'registered',
      proofLevel: 'software',
      certificates: [],
      session: null,
      notices: [],
    });
  });

  test('device show: connected', async () => {
    const key = makeKey();
    const headers = basic('press-07', added.ticket);
    const answer = await postCsr(gateway, 'simpleenroll', await makeCsr(key), { headers });
    const credential = await credentialOf(gateway, certificateIn(answer), key);
    client = await RawClient.connected(mqttDoorOf(gateway), credential, { clientId: 'press-07' });
    const device = await gateway.deviceSoon('press-07', 'a session', ({ session }) => session !== null);
    expect(await gateway.gatehouse<DeviceDetail>('device', 'show', 'press-07')).toEqual(device);
    expect(device).toMatchObject({
      state: 'enrolled',
      hardwareSerial: 'SN 4711',
      certificates: [
        {
          serial: credential.serial,
          state: 'active',
          profile: 'device',
          notBefore: expect.any(Number),
          notAfter: credential.notAfter,
          sha256: expect.stringMatching(SHA256),
        },
      ],
      session: { since: expect.any(Number), address: expect.stringContaining('127.0.0.1'), serial: credential.serial },
    });
    expect(new X509Certificate(credential.der).subject).toBe('CN=press-07\nserialNumber=SN 4711');
  });

  test('device list, all and of a group', async () => {
    await gateway.gatehouse('device', 'add', 'press-08', '--group', 'line-3');
    const all = await gateway.gatehouse<DeviceSummary[]>('device', 'list');
    expect(all.map(({ deviceId, connected }) => [deviceId, connected])).toEqual([
      ['press-07', true],
      ['press-08', false],
    ]);
    const some = await gateway.gatehouse<DeviceSummary[]>('device', 'list', '--group', 'line-3');
    expect(some.map(({ deviceId }) => deviceId)).toEqual(['press-08']);
    const { stdout } = await gateway.command('device', 'list');
    expect(stdout).toMatch(/press-07.*enrolled.*yes/);
  });

  test('certificate list and show', async () => {
    const list = await gateway.gatehouse<(CertificateSummary & { deviceId: string | null })[]>('certificate', 'list');
    // The gateway's own stand there, too.
    expect(new Set(list.map(({ profile }) => profile))).toEqual(
      new Set(['device', 'gateway-server', 'notice-signer', 'ocsp-responder']),
    );
    const active = ['--state', 'active', '--device', 'press-07'];
    const [own] = await gateway.gatehouse<CertificateSummary[]>('certificate', 'list', ...active);
    expect(own?.serial).toMatch(SERIAL);
    const shown = await gateway.gatehouse<CertificateDetail>('certificate', 'show', own?.serial ?? '');
    expect(shown).toMatchObject({ ...own, deviceId: 'press-07', revokedAt: null, revocationReason: null });
    const { stdout } = await gateway.command('certificate', 'show', own?.serial ?? '', '--pem');
    expect(stdout.startsWith('-----BEGIN CERTIFICATE-----\n')).toBe(true);
    expect(new X509Certificate(stdout).fingerprint256.replaceAll(':', '').toLowerCase()).toBe(own?.sha256);
    const asOpensslWrites = (own?.serial ?? '').toUpperCase().replace(/..(?=.)/g, '$&:');
    expect((await gateway.command('certificate', 'show', asOpensslWrites, '--pem')).stdout).toBe(stdout);
  });

  test('device renew', async () => {
    const ordered = await gateway.gatehouse<RenewOrdered>('device', 'renew', 'press-07', '--reason', 'exercise');
    expect(ordered).toEqual({
      deviceId: 'press-07',
      noticeId: expect.any(String),
      serial: expect.stringMatching(SERIAL),
      delivered: false,
    });
    const { notices } = await gateway.gatehouse<DeviceDetail>('device', 'show', 'press-07');
    expect(notices).toEqual([{ id: ordered.noticeId, kind: 'renew', seq: expect.any(Number), state: 'outbox' }]);
  });

  test('ticket list and revoke', async () => {
    const tickets = await gateway.gatehouse<TicketSummary[]>('ticket', 'list');
    expect(tickets.map(({ deviceId, state }) => [deviceId, state])).toEqual(
      expect.arrayContaining([
        ['press-07', 'spent'],
        ['press-08', 'open'],
      ]),
    );
    const open = tickets.find(({ deviceId }) => deviceId === 'press-08');
    expect(await gateway.gatehouse('ticket', 'revoke', open?.id ?? '')).toEqual({ ...open, state: 'revoked' });
    expect((await gateway.gatehouse<DeviceAdded>('device', 'add', 'press-08', '--new-ticket')).deviceId).toBe(
      'press-08',
    );
  });

  test('device revoke', async () => {
    const serial = (await gateway.device('press-07')).certificates[0]?.serial;
    const revoked = await gateway.gatehouse<DeviceRevoked>('device', 'revoke', 'press-07', '--reason', 'superseded');
    expect(revoked).toEqual({
      deviceId: 'press-07',
      serials: [serial],
      sessionsClosed: 1,
      closedAfterMs: expect.any(Number),
    });
    await client?.closed;
    const again = await gateway.gatehouse<DeviceRevoked>('device', 'revoke', 'press-07', '--reason', 'superseded');
    expect(again).toEqual({ deviceId: 'press-07', serials: [], sessionsClosed: 0, closedAfterMs: 0 });
    const { stderr } = await gateway.command('device', 'revoke', 'press-07', '--reason', 'superseded');
    expect(stderr).toMatch(/To let it in again: (npx )?gatehouse device add press-07 --new-ticket/);
  });

  test('device retire: for good', async () => {
    await gateway.gatehouse('device', 'retire', 'press-08');
    expect(await gateway.device('press-08')).toMatchObject({ state: 'retired' });
    const { code, stderr } = await gateway.command('device', 'add', 'press-08', '--new-ticket', '--json');
    expect(code).toBe(1);
    expect(JSON.parse(stderr)).toMatchObject({ error: { code: 'STATE_CONFLICT' } });
    // No way back is offered that does not exist.
    const revoked = await gateway.command('device', 'revoke', 'press-08', '--reason', 'superseded');
    expect(revoked.code).toBe(0);
    expect(revoked.stderr).not.toContain('To let it in again');
  });

  test('device add: says how to enroll, with the join URL as an argument and without', async () => {
    const { stdout, stderr } = await gateway.command('device', 'add', 'press-10');
    const [joinUrl] = /gatehouse:\/\/\S+/.exec(stdout) ?? [];
    expect(stderr).toContain(`\n  gatehouse-agent enroll ${joinUrl}\n`);
    expect(stderr).toContain('\n  gatehouse-agent enroll -\n');
  });

  test('audit list: who, what, when', async () => {
    const events = await gateway.gatehouse<AuditEvent[]>('audit', 'list', '--device', 'press-07', '--since', '1h');
    const actions = events.map(({ action }) => action);
    for (const action of ['device.added', 'ticket.created', 'certificate.issued', 'session.opened', 'device.revoked']) {
      expect(actions).toContain(action);
    }
    expect(events.every(({ subject, at }) => subject === 'press-07' && at > Date.now() - 3_600_000)).toBe(true);
    expect(events.find(({ action }) => action === 'device.added')?.actor).toMatch(/^operator:|^local:|\w/);
    const limited = await gateway.gatehouse<AuditEvent[]>('audit', 'list', '--limit', '3');
    expect(limited).toHaveLength(3);
    expect(limited.map(({ id }) => id)).toEqual(limited.map(({ id }) => id).toSorted((a, b) => b - a));
  });

  test('ca show and export', async () => {
    const shown = await gateway.gatehouse<CaDescription>('ca', 'show');
    expect(shown).toMatchObject({ trustDomain: 'gatehouse.internal', root: { sha256: gateway.ready.rootSha256 } });
    expect(shown.crl?.number).toBeGreaterThan(0);
    const root = (await gateway.command('ca', 'export')).stdout;
    expect(root.trim()).toBe((await readFile(gateway.ready.rootPem, 'utf8')).trim());
    const chain = (await gateway.command('ca', 'export', '--what', 'chain')).stdout;
    expect(chain.match(/BEGIN CERTIFICATE/g)).toHaveLength(2);
    expect(chain).toContain(root.trim());
  });

  test('doctor', async () => {
    const { ok, checks } = await gateway.gatehouse<{ ok: boolean; checks: { name: string; ok: boolean }[] }>('doctor');
    expect(checks.filter((check) => !check.ok)).toEqual([]);
    expect(ok).toBe(true);
    const names = checks.map(({ name }) => name);
    for (const name of [
      'data folder',
      'file modes',
      'authority',
      'gateway',
      'EST door',
      'MQTT door',
      'clock',
      'disk space',
    ]) {
      expect(names).toContain(name);
    }
  });

  test.each([
    ['a name that is none', ['device', 'add', '../etc'], 2],
    ['a name that starts with a dot', ['device', 'add', '.hidden'], 2],
    ['a name of 64 characters', ['device', 'add', 'x'.repeat(64)], 2],
    ['no name', ['device', 'show'], 2],
    ['a command that does not exist', ['device', 'explode'], 2],
    ['an option that does not exist', ['device', 'list', '--colour'], 2],
    ['a reason that is none', ['device', 'revoke', 'press-07', '--reason', 'boredom'], 2],
    ['a revocation without a reason', ['device', 'revoke', 'press-07'], 2],
    ['a serial that is none', ['certificate', 'show', 'xyz'], 2],
    ['a duration that is none', ['group', 'add', 'g', '--lifetime', 'soon'], 2],
    ['a key kind that is none', ['group', 'add', 'g', '--keys', 'rsa-1024'], 2],
    ['a device that is registered already', ['device', 'add', 'press-07'], 1],
    ['a group that does not exist', ['device', 'add', 'new-1', '--group', 'nowhere'], 1],
    ['a device that does not exist', ['device', 'show', 'nobody'], 1],
    ['a serial that was never issued', ['certificate', 'show', 'ab12'], 1],
    ['a ticket that does not exist', ['ticket', 'revoke', 't-0'], 1],
    ['a renewal of what was revoked', ['device', 'renew', 'press-07'], 1],
  ])('%s: says what is wrong on stderr, and nothing on stdout', async (_, args, exitCode) => {
    const { code, stdout, stderr } = await gateway.command(...args);
    expect(code, stderr).toBe(exitCode);
    expect(stdout).toBe('');
    expect(stderr).not.toBe('');
    // Words for a person, not the innards of a program.
    expect(stderr).not.toMatch(/\n\s+at .*\.ts:\d+/);
  });

  test('device ids that mean something to a program are just names', async () => {
    for (const deviceId of ['constructor', 'toString', 'hasOwnProperty']) {
      expect((await gateway.gatehouse<DeviceAdded>('device', 'add', deviceId)).deviceId).toBe(deviceId);
      expect(await gateway.gatehouse('device', 'show', deviceId)).toMatchObject({ deviceId, state: 'registered' });
    }
    // Underscores may not come first.
    expect((await gateway.command('device', 'add', '__proto__')).code).toBe(2);
  });

  test('anything, while no gateway runs: says how to start one, exit code 4', async () => {
    const nowhere = join(gateway.folder, 'nothing-here');
    const { code, stderr } = await run(process.execPath, [PROGRAMS.gatehouse, 'device', 'list', '--data', nowhere]);
    expect(code).toBe(4);
    expect(stderr).toContain('gatehouse serve');
    await gateway.kill9();
    const killed = await gateway.command('device', 'list', '--json');
    expect(killed.code).toBe(4);
    expect(JSON.parse(killed.stderr)).toMatchObject({ error: { code: 'NOT_RUNNING' } });
    // The authority's certificates are there without it.
    expect(await gateway.gatehouse<CaDescription>('ca', 'show')).toMatchObject({
      root: { sha256: gateway.ready.rootSha256 },
    });
    const { ok } = JSON.parse((await gateway.command('doctor', '--json')).stdout) as { ok: boolean };
    expect(ok).toBe(false);
  });

  test('ca init: a ceremony by hand, then a start with what it made', async () => {
    const data = join(gateway.folder, 'by-hand');
    const init = ['ca', 'init', '--trust-domain', 'plant.example', '--algorithm', 'ec-p384', '--data', data, '--json'];
    const { code, stdout, stderr } = await run(process.execPath, [PROGRAMS.gatehouse, ...init]);
    expect(code, stderr).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({});
    const again = await run(process.execPath, [PROGRAMS.gatehouse, ...init]);
    expect(again.code).toBe(1);
    const shown = await run(process.execPath, [PROGRAMS.gatehouse, 'ca', 'show', '--data', data, '--json']);
    expect(JSON.parse(shown.stdout)).toMatchObject({ trustDomain: 'plant.example', crl: null });
  });
});
