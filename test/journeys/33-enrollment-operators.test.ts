import { readFile, stat, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ClaimFile } from '#gateway/contract/claim-file.ts';
import type {
  AttemptDetail,
  DeviceDetail,
  DevicesImported,
  EnrollmentRequestSummary,
  GroupTested,
  RegistrarAdded,
} from '#gateway/contract/operator-api.ts';
import { makeKey } from '#test/fixtures/ca/keys.ts';
import { createTestAuthority } from '#test/fixtures/doors/certificates.ts';
import { certificateIn, makeCsr } from '#test/fixtures/processes/device-credential.ts';
import { basic, postCsr } from '#test/fixtures/processes/est-exchange.ts';
import { type GatewayProcess, startGateway } from '#test/fixtures/processes/gateway-process.ts';

const attemptOf = (answer: { header(name: string): string | undefined }): string => {
  const id = answer.header('Gatehouse-Attempt');
  if (id === undefined) throw new Error('the answer names no attempt');
  return id;
};

describe('the operator decides who gets an identity', () => {
  let gateway: GatewayProcess;
  beforeAll(async () => {
    gateway = await startGateway();
  });
  afterAll(() => gateway?.dispose());

  test('devices come from a CSV file, and a second import changes nothing', async () => {
    await gateway.gatehouse('group', 'add', 'pumps', '--device-id-pattern', 'pump-*');
    const file = join(gateway.folder, 'devices.csv');
    await writeFile(
      file,
      'deviceId,group,hardwareSerial,owner\npump-1,pumps,SN-1,plant 7\npump-2,pumps,SN-2,plant 7\n',
    );
    const first = await gateway.gatehouse<DevicesImported>('device', 'import', file);
    expect(first.items.map(({ outcome }) => outcome)).toEqual(['added', 'added']);
    const again = await gateway.gatehouse<DevicesImported>('device', 'import', file);
    expect(again.items.map(({ outcome }) => outcome)).toEqual(['unchanged', 'unchanged']);
    expect(await gateway.gatehouse<DeviceDetail>('device', 'show', 'pump-2')).toMatchObject({
      group: 'pumps',
      hardwareSerial: 'SN-2',
      owner: 'plant 7',
      state: 'registered',
    });
  });

  test('a group says beforehand what a request would get', async () => {
    await gateway.gatehouse('group', 'set', 'pumps', '--network', '10.0.0.0/8');
    const refused = await gateway.command(
      'group',
      'test',
      'pumps',
      '--device',
      'pump-1',
      '--from',
      '192.0.2.1',
      '--json',
    );
    expect(refused.code).toBe(5);
    const tested = JSON.parse(refused.stdout) as GroupTested;
    expect(tested).toMatchObject({ outcome: 'refused', code: 'NETWORK_NOT_ALLOWED' });
    const granted = await gateway.command(
      'group',
      'test',
      'pumps',
      '--device',
      'pump-1',
      '--from',
      '10.9.9.9',
      '--json',
    );
    expect(granted.code).toBe(0);
  });

  test('what was said is what happens, and the attempt tells why', async () => {
    const { ticket } = await gateway.gatehouse<{ ticket: string }>('device', 'add', 'pump-1', '--new-ticket');
    const csr = await makeCsr(makeKey());
    const refused = await postCsr(gateway, 'simpleenroll', csr, { headers: basic('pump-1', ticket) });
    expect(refused.status).toBe(403);
    const attempt = await gateway.gatehouse<AttemptDetail>('attempt', 'show', attemptOf(refused));
    expect(attempt).toMatchObject({ outcome: 'refused', code: 'NETWORK_NOT_ALLOWED', deviceId: 'pump-1', door: 'est' });
    expect(attempt.steps.at(-1)).toMatchObject({ step: 'policy', outcome: 'refused' });
    expect(attempt.nextAction).toContain('network');

    await gateway.gatehouse('group', 'set', 'pumps', '--network', 'none');
    const issued = await postCsr(gateway, 'simpleenroll', csr, { headers: basic('pump-1', ticket) });
    expect(issued.status).toBe(200);
  });

  test('a first enrollment waits for a person, is compared by its fingerprint, and goes on', async () => {
    await gateway.gatehouse('group', 'set', 'pumps', '--approval', 'manual');
    const { ticket } = await gateway.gatehouse<{ ticket: string }>('device', 'add', 'pump-2', '--new-ticket');
    const key = makeKey();
    const csr = await makeCsr(key);
    const ask = () => postCsr(gateway, 'simpleenroll', csr, { headers: basic('pump-2', ticket) });
    const waiting = await ask();
    expect(waiting.status).toBe(202);
    expect(Number(waiting.header('Retry-After'))).toBeGreaterThan(0);

    const listed = await gateway.gatehouse<EnrollmentRequestSummary[]>('enrollment', 'list');
    expect(listed).toMatchObject([{ id: attemptOf(waiting), deviceId: 'pump-2', state: 'waiting', door: 'est' }]);
    const id = listed[0]?.id ?? '';

    await gateway.kill9();
    await gateway.start();
    expect((await ask()).status).toBe(202);
    await gateway.gatehouse('enrollment', 'approve', id, '--note', 'seen on site');
    const issued = await ask();
    expect(issued.status).toBe(200);
    // The answer was lost: the same key gets the same certificate.
    expect(certificateIn(await ask())).toEqual(certificateIn(issued));
    const used = await gateway.gatehouse<EnrollmentRequestSummary>('enrollment', 'show', id);
    expect(used).toMatchObject({ state: 'used', note: 'seen on site' });
  });

  test('a refused one hears why', async () => {
    await gateway.gatehouse('device', 'add', 'pump-3', '--group', 'pumps');
    const { ticket } = await gateway.gatehouse<{ ticket: string }>('device', 'add', 'pump-3', '--new-ticket');
    const csr = await makeCsr(makeKey());
    const ask = () => postCsr(gateway, 'simpleenroll', csr, { headers: basic('pump-3', ticket) });
    const waiting = await ask();
    await gateway.gatehouse('enrollment', 'refuse', attemptOf(waiting), '--reason', 'not ordered');
    const refused = await ask();
    expect(refused.status).toBe(403);
    expect(refused.body).toContain('not ordered');
  });

  test('a claim is a file that nobody else may read', async () => {
    await gateway.gatehouse('device', 'add', 'valve-1');
    const file = join(gateway.folder, 'claim.json');
    await gateway.gatehouse('ticket', 'claim', 'valve-1', '--out', file);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    const claim = JSON.parse(await readFile(file, 'utf8')) as ClaimFile;
    expect(claim).toMatchObject({ kind: 'gatehouse-claim', version: 1, deviceId: 'valve-1' });
    expect(claim.expiresAt - Date.now()).toBeLessThanOrEqual(3_600_000);
    expect((await gateway.command('ticket', 'claim', 'valve-1', '--out', file)).code).not.toBe(0);
  });

  test('a registrar enrolls the devices of its groups and no others', async () => {
    const registrarKey = makeKey();
    const csrFile = join(gateway.folder, 'registrar.csr');
    await writeFile(csrFile, await makeCsr(registrarKey, { commonName: 'line-7' }));
    await gateway.gatehouse('group', 'add', 'line-7', '--approval', 'auto');
    const out = join(gateway.folder, 'registrar.pem');
    const added = await gateway.gatehouse<RegistrarAdded>(
      'registrar',
      'add',
      'line-7',
      '--group',
      'line-7',
      '--csr',
      csrFile,
      '--out',
      out,
    );
    const keyPem = registrarKey.privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
    const tls = { cert: added.certificate + added.chain.join(''), key: keyPem };
    const own = await postCsr(gateway, 'simpleenroll', await makeCsr(makeKey(), { commonName: 'robot-1' }), { tls });
    expect(own.status).toBe(200);
    expect(await gateway.gatehouse<DeviceDetail>('device', 'show', 'robot-1')).toMatchObject({ group: 'line-7' });
    const foreign = await postCsr(gateway, 'simpleenroll', await makeCsr(makeKey(), { commonName: 'valve-1' }), {
      tls,
    });
    expect(foreign.status).toBe(403);
    await gateway.gatehouse('registrar', 'remove', 'line-7');
    const after = await postCsr(gateway, 'simpleenroll', await makeCsr(makeKey(), { commonName: 'robot-2' }), { tls });
    expect([401, 403]).toContain(after.status);
  });
});

describe('another system is asked before each issue', () => {
  let gateway: GatewayProcess;
  let policy: Server;
  let answer = '{"decision":"allow"}';
  const asked: { deviceId: string; group: string }[] = [];

  beforeAll(async () => {
    const authority = await createTestAuthority();
    const identity = await authority.issueServer();
    policy = createServer(
      { key: identity.keyPem, cert: identity.pem + authority.intermediate.pem },
      (request, response) => {
        const parts: Buffer[] = [];
        request.on('data', (part: Buffer) => parts.push(part));
        request.on('end', () => {
          asked.push(JSON.parse(Buffer.concat(parts).toString()) as { deviceId: string; group: string });
          response.writeHead(200, { 'Content-Type': 'application/json' }).end(answer);
        });
      },
    );
    await new Promise<void>((resolve) => policy.listen(0, '127.0.0.1', resolve));
    gateway = await startGateway({ staysReachable: true });
    await writeFile(join(gateway.dataDir, 'webhook-ca.pem'), authority.root.pem);
    await gateway.kill9();
    await gateway.start();
    const { port } = policy.address() as AddressInfo;
    await gateway.gatehouse('group', 'add', 'asked', '--webhook', `https://localhost:${port}/policy`);
  });
  afterAll(async () => {
    policy?.close();
    policy?.closeAllConnections();
    await gateway?.dispose();
  });

  test('its yes, its no and its silence count', async () => {
    const { ticket } = await gateway.addDevice('asked-1', 'asked');
    const csr = await makeCsr(makeKey());
    const ask = () => postCsr(gateway, 'simpleenroll', csr, { headers: basic('asked-1', ticket) });
    answer = '{"decision":"deny","reason":"reported stolen"}';
    const denied = await ask();
    expect(denied.status).toBe(403);
    answer = 'what?';
    const silent = await ask();
    expect(silent.status).toBe(503);
    expect(silent.header('Retry-After')).toBeDefined();
    answer = '{"decision":"allow"}';
    expect((await ask()).status).toBe(200);
    expect(asked.at(-1)).toMatchObject({ deviceId: 'asked-1', group: 'asked' });
  });
});
