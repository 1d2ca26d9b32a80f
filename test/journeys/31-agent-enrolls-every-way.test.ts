import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { AttemptDetail, EnrollmentRequestSummary } from '#gateway/contract/operator-api.ts';
import { TestAuthority } from '#test/fixtures/device-agent/test-authority.ts';
import { blockEst, claimFor } from '#test/fixtures/processes/agent-detours.ts';
import { AgentProcess } from '#test/fixtures/processes/agent-process.ts';
import { eventually } from '#test/fixtures/processes/eventually.ts';
import { type GatewayProcess, startGateway } from '#test/fixtures/processes/gateway-process.ts';
import { RunningProcess } from '#test/fixtures/processes/running-process.ts';

const ATTEMPT = /attempt (a-[0-9a-f]{16})/;

describe('an agent enrolls and renews in every way', () => {
  let gateway: GatewayProcess;
  let maker: TestAuthority;
  const agents: AgentProcess[] = [];
  const agent = (deviceId: string, folder = gateway.folder) => {
    const made = new AgentProcess(folder, deviceId);
    agents.push(made);
    return made;
  };
  beforeAll(async () => {
    [gateway, maker] = await Promise.all([startGateway({ staysReachable: true }), TestAuthority.create()]);
    const root = join(gateway.folder, 'maker-root.pem');
    await writeFile(root, maker.root.certificate.toString('pem'));
    await gateway.addGroup('makers', { approval: 'auto' });
    await gateway.addGroup('careful', { approval: 'manual' });
    await gateway.addGroup('bound', { binding: 'required' });
    await gateway.gatehouse('manufacturer', 'add', root, '--group', 'makers');
  });
  afterAll(async () => {
    await Promise.all(agents.map((each) => each.stop()));
    await gateway?.dispose();
  });

  /** Files of a device as its maker ships it, and the options that use them. */
  async function shipped(serialNumber: string): Promise<string[]> {
    const { certificatePem, keyPem } = await maker.issueIdevid(serialNumber);
    const [certificate, key] = ['cert', 'key'].map((what) => join(gateway.folder, `${serialNumber}-${what}.pem`));
    await writeFile(certificate ?? '', certificatePem);
    await writeFile(key ?? '', keyPem, { mode: 0o600 });
    return ['--idevid-cert', certificate ?? '', '--idevid-key', key ?? ''];
  }

  async function waitingFor(deviceId: string): Promise<EnrollmentRequestSummary> {
    const requests = await eventually(
      `a waiting request of ${deviceId}`,
      () => gateway.gatehouse<EnrollmentRequestSummary[]>('enrollment', 'list'),
      (list) => list.some((request) => request.deviceId === deviceId),
    );
    const request = requests.find((each) => each.deviceId === deviceId);
    if (!request) throw new Error('it has gone');
    return request;
  }

  test('by a claim over MQTT, after which the claim is spent', async () => {
    await gateway.addDevice('pump-1');
    const claim = await claimFor(gateway, 'pump-1');
    const pump = agent('pump-1');
    const { stdout, stderr } = await pump.ok('enroll', '--via', 'mqtt', claim);
    expect(stderr.match(/✓ [1-5]\/5/g)).toHaveLength(5);
    const device = await gateway.device('pump-1');
    expect(device.state).toBe('enrolled');
    expect(device.certificates).toContainEqual(
      expect.objectContaining({ serial: (await pump.certificate()).serial, state: 'active', profile: 'device' }),
    );
    const [, attemptId = ''] = ATTEMPT.exec(stdout) ?? [];
    expect(await gateway.gatehouse<AttemptDetail>('attempt', 'show', attemptId)).toMatchObject({
      door: 'mqtt',
      deviceId: 'pump-1',
      outcome: 'issued',
    });

    const thief = agent('pump-1', join(gateway.folder, 'thief'));
    const again = await thief.command(['enroll', '--via', 'mqtt', claim]);
    expect(again.code).toBe(3);
    expect(again.stderr).toContain('gatehouse ticket claim');
  });

  test('by the certificate of its maker, over EST and over MQTT, without being registered before', async () => {
    const overEst = ['--gateway', `127.0.0.1:${gateway.ready.est.port}`, '--root-sha256', gateway.ready.rootSha256];
    await agent('SN-100').ok('enroll', ...(await shipped('SN-100')), ...overEst);
    expect(await gateway.device('SN-100')).toMatchObject({ state: 'enrolled', group: 'makers' });

    const overMqtt = [
      '--via',
      'mqtt',
      '--gateway',
      `127.0.0.1:${gateway.ready.mqtt.port}`,
      '--root',
      gateway.ready.rootPem,
    ];
    await agent('SN-101').ok('enroll', ...(await shipped('SN-101')), ...overMqtt);
    expect(await gateway.device('SN-101')).toMatchObject({ state: 'enrolled', group: 'makers' });
  });

  test('knowing only the fingerprint of the root, over MQTT too: nothing goes to a gateway that has another', async () => {
    const idevid = await shipped('SN-102');
    const how = (sha256: string, est = gateway.ready.est.port) => [
      '--via',
      'mqtt',
      '--gateway',
      `127.0.0.1:${gateway.ready.mqtt.port}`,
      '--est',
      `127.0.0.1:${est}`,
      '--root-sha256',
      sha256,
    ];
    const device = agent('SN-102');
    const foreign = await device.command(['enroll', ...idevid, ...how('0'.repeat(64))]);
    expect(foreign).toMatchObject({ code: 1, stderr: expect.stringContaining('does not have the root certificate') });
    const blocked = await device.command(['enroll', ...idevid, ...how(gateway.ready.rootSha256, 9)]);
    expect(blocked.code).not.toBe(0);
    expect(blocked.stderr).toContain('--root FILE');
    expect(await gateway.gatehouse<unknown[]>('attempt', 'list', '--device', 'SN-102')).toEqual([]);
    const { stderr } = await device.ok('enroll', ...idevid, ...how(gateway.ready.rootSha256));
    expect(stderr.match(/✓ [1-7]\/7/g)).toHaveLength(7);
    expect(await gateway.device('SN-102')).toMatchObject({ state: 'enrolled', group: 'makers' });
  });

  test('but not by the certificate of a maker nobody trusts, and says so', async () => {
    const stranger = await TestAuthority.create();
    const { certificatePem, keyPem } = await stranger.issueIdevid('SN-666');
    const files = ['cert', 'key'].map((what) => join(gateway.folder, `stranger-${what}.pem`));
    await writeFile(files[0] ?? '', certificatePem);
    await writeFile(files[1] ?? '', keyPem, { mode: 0o600 });
    const idevid = ['--idevid-cert', files[0] ?? '', '--idevid-key', files[1] ?? '', '--root', gateway.ready.rootPem];
    for (const [via, port] of [
      ['est', gateway.ready.est.port],
      ['mqtt', gateway.ready.mqtt.port],
    ]) {
      const { code, stderr } = await agent('SN-666').command([
        'enroll',
        ...idevid,
        '--via',
        String(via),
        '--gateway',
        `127.0.0.1:${port}`,
      ]);
      expect({ via, code, stderr }).toMatchObject({ code: 3 });
    }
  });

  test.each(['est', 'mqtt'] as const)(
    'after a person has compared its key and approved, over %s, killed and started again in between',
    async (via) => {
      const deviceId = `careful-${via}`;
      const { joinUrl } = await gateway.addDevice(deviceId, 'careful');
      const how = via === 'est' ? [joinUrl] : ['--via', 'mqtt', await claimFor(gateway, deviceId)];
      const careful = agent(deviceId);
      const first = new RunningProcess('first', careful.argumentsOf('enroll', ...how));
      const line = await first.until('that it waits', () => first.log.find(({ text }) => text.startsWith('…')));
      await first.kill9();
      const request = await waitingFor(deviceId);
      const fingerprint = (request.spkiSha256.slice(0, 16).match(/.{4}/g) ?? []).join(' ');
      expect(line.text).toContain(`key fingerprint ${fingerprint}`);
      expect(request).toMatchObject({ door: via, state: 'waiting' });
      const status = await careful.status();
      expect(status).toMatchObject({ exitCode: 5, waiting: { keyFingerprint: fingerprint, via } });

      const second = new RunningProcess('second', careful.argumentsOf('enroll', ...how));
      const waits = await second.until('that it waits again', () =>
        second.log.find(({ text }) => text.startsWith('…')),
      );
      expect(waits.text).toContain(`attempt ${status.waiting?.attemptId}`);
      // Over MQTT the gateway tells that somebody has decided; over EST that is found out by asking.
      if (via === 'est') await second.stop();
      await gateway.gatehouse('enrollment', 'approve', request.id);
      if (via === 'est') await careful.ok('enroll', ...how);
      else expect(await second.ended).toMatchObject({ code: 0 });
      expect(await gateway.device(deviceId)).toMatchObject({ state: 'enrolled' });
      expect(await careful.status()).toMatchObject({ exitCode: 0, waiting: null });
    },
  );

  test('not when that person says no, with the reason', async () => {
    const { joinUrl } = await gateway.addDevice('careful-no', 'careful');
    const careful = agent('careful-no');
    const waiting = new RunningProcess('waiting', careful.argumentsOf('enroll', joinUrl));
    await waiting.until('that it waits', () => waiting.log.find(({ text }) => text.startsWith('…')));
    const request = await waitingFor('careful-no');
    await waiting.kill9();
    await gateway.gatehouse('enrollment', 'refuse', request.id, '--reason', 'not one of ours');
    const { code, stderr } = await careful.command(['enroll', joinUrl]);
    expect(code).toBe(3);
    expect(stderr).toContain('not one of ours');
    expect(stderr).toMatch(/attempt: a-[0-9a-f]{16}/);
  });

  test('bound to its connection where the group demands it, over EST with and without label, and over MQTT', async () => {
    for (const label of [[], ['--label', 'bound']]) {
      const deviceId = `bound-${label.length}`;
      const { joinUrl } = await gateway.addDevice(deviceId, 'bound');
      const bound = agent(deviceId);
      const { stderr } = await bound.enroll(joinUrl, ...label);
      // With the label the gateway can tell beforehand; without it a refusal does.
      expect(stderr.match(/asking for the certificate/g)).toHaveLength(label.length > 0 ? 1 : 2);
      await bound.ok('renew');
    }
    await gateway.addDevice('bound-mqtt', 'bound');
    const pump = agent('bound-mqtt');
    await pump.ok('enroll', '--via', 'mqtt', await claimFor(gateway, 'bound-mqtt'), '--renew-via', 'mqtt');
    await pump.ok('renew');
    expect(await gateway.device('bound-mqtt')).toMatchObject({ state: 'enrolled' });
  });

  test('in the group it names, over EST and over MQTT, where several trust its maker', async () => {
    await gateway.addGroup('other-makers', { approval: 'auto' });
    await gateway.gatehouse('manufacturer', 'add', join(gateway.folder, 'maker-root.pem'), '--group', 'other-makers');
    const doors = [
      ['--gateway', `127.0.0.1:${gateway.ready.est.port}`],
      ['--via', 'mqtt', '--gateway', `127.0.0.1:${gateway.ready.mqtt.port}`, '--renew-via', 'mqtt'],
    ];
    for (const [place, door] of doors.entries()) {
      const serialNumber = `SN-20${place}`;
      const idevid = [...(await shipped(serialNumber)), ...door, '--root', gateway.ready.rootPem];
      const unclear = await agent(serialNumber).command(['enroll', ...idevid]);
      expect(unclear).toMatchObject({ code: 3, stderr: expect.stringContaining('GROUP_AMBIGUOUS') });
      expect(unclear.stderr).toContain('by its label');
      const unknown = await agent(serialNumber).command(['enroll', ...idevid, '--label', 'nobody']);
      expect(unknown).toMatchObject({ code: 3, stderr: expect.stringContaining('LABEL_UNKNOWN') });
      await agent(serialNumber).ok('enroll', ...idevid, '--label', 'other-makers');
      expect(await gateway.device(serialNumber)).toMatchObject({ state: 'enrolled', group: 'other-makers' });
      await agent(serialNumber).ok('renew');
    }
  });

  test('and renews over MQTT when the port of EST is blocked', async () => {
    const { joinUrl } = await gateway.addDevice('remote-1');
    const remote = agent('remote-1');
    await remote.enroll(joinUrl);
    await blockEst(remote);
    const before = await remote.certificate();
    const daemon = await remote.connect();
    const { stderr } = await remote.ok('renew');
    expect(stderr).toMatch(/attempt: a-[0-9a-f]{16}/);
    expect((await remote.certificate()).serial).not.toBe(before.serial);
    await daemon.logged('certificate renewed', { oldSerial: before.serial });
    await remote.statusSoon('a session with the new one', (status) => status.connected);
    expect(await remote.status()).toMatchObject({ renewVia: 'auto', lastAttempt: { outcome: 'issued', via: 'mqtt' } });
    await remote.stop();
    // Nobody runs: the command itself makes the session.
    await remote.ok('renew');
    await gateway.deviceSoon('remote-1', 'three certificates', ({ certificates }) => certificates.length === 3);
  });
});
