import { readFile, writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseGenerationMeta } from '#device-agent/domain/generation-meta.ts';
import type { RenewalCampaignDetail, RenewalCampaignDevice, RenewalPlan } from '#gateway/contract/renewal-api.ts';
import { formatCertId, RENEWAL_INFO_PATH } from '#gateway/contract/renewal-info.ts';
import { blockEst } from '#test/fixtures/processes/agent-detours.ts';
import { AgentProcess } from '#test/fixtures/processes/agent-process.ts';
import { eventually } from '#test/fixtures/processes/eventually.ts';
import { type GatewayProcess, startGateway } from '#test/fixtures/processes/gateway-process.ts';

type Info = { status: number; headers: Record<string, unknown>; body: string };

async function renewalInfo(gateway: GatewayProcess, certId: string): Promise<Info> {
  const { est, rootPem } = gateway.ready;
  const ca = await readFile(rootPem);
  return new Promise((resolve, reject) => {
    const path = `${RENEWAL_INFO_PATH}/${certId}`;
    const asked = request({ host: est.host, port: est.port, path, ca, agent: false }, (response) => {
      const { statusCode = 0, headers } = response;
      text(response).then((body) => resolve({ status: statusCode, headers, body }), reject);
    });
    asked.on('error', reject);
    asked.end();
  });
}

describe('the gateway steers renewals', () => {
  let gateway: GatewayProcess;
  let press: AgentProcess;
  beforeAll(async () => {
    gateway = await startGateway();
    press = new AgentProcess(gateway.folder, 'press-07');
    await press.enroll((await gateway.addDevice('press-07')).joinUrl);
    await press.connect();
  });
  afterAll(async () => {
    await press?.stop();
    await gateway?.dispose();
  });

  const certId = async () => {
    const { authorityKeyId: issuerKeyId = '', serial } = await press.certificate();
    return formatCertId({ issuerKeyId, serial });
  };

  test('a window comes with the certificate, and the agent plans its renewal in it', async () => {
    const meta = parseGenerationMeta(JSON.parse(await readFile(`${press.stateDir}/current/meta.json`, 'utf8')));
    const [certificate] = (await gateway.device('press-07')).certificates;
    expect(meta.suggestedWindow?.start).toBe(certificate?.renewFrom);
    const { nextRenewalAt } = await press.status();
    expect(nextRenewalAt).toBeGreaterThanOrEqual(meta.suggestedWindow?.start ?? Infinity);
    expect(nextRenewalAt).toBeLessThanOrEqual(meta.suggestedWindow?.end ?? 0);
  });

  test('the same window is told at renewal-info to whoever asks, without a certificate', async () => {
    const { status, headers, body } = await renewalInfo(gateway, await certId());
    expect(status).toBe(200);
    expect(Number(headers['retry-after'])).toBe(86_400);
    const { suggestedWindow } = JSON.parse(body) as { suggestedWindow: { start: string; end: string } };
    const [certificate] = (await gateway.device('press-07')).certificates;
    expect(Date.parse(suggestedWindow.start)).toBe(certificate?.renewFrom);
    expect((await renewalInfo(gateway, 'nonsense')).status).toBe(400);
    const foreign = formatCertId({ issuerKeyId: '00'.repeat(20), serial: '11'.repeat(16) });
    expect((await renewalInfo(gateway, foreign)).status).toBe(404);
  });

  test('the plan shows it', async () => {
    const plan = await gateway.gatehouse<RenewalPlan>('renewal', 'plan');
    expect(plan).toMatchObject({ active: 1, due: 0, atRisk: [] });
    expect(plan.forecast.reduce((sum, { renewals }) => sum + renewals, 0)).toBe(1);
    expect((await gateway.command('renewal', 'plan')).stdout).toContain('█');
  });

  test('a renewal over MQTT brings the window of the new certificate too', async () => {
    await gateway.addGroup('mqtt-only', {});
    const pump = new AgentProcess(gateway.folder, 'pump-17');
    await pump.enroll((await gateway.addDevice('pump-17', 'mqtt-only')).joinUrl, '--renew-via', 'mqtt');
    await pump.connect();
    try {
      await pump.ok('renew');
      const meta = parseGenerationMeta(JSON.parse(await readFile(`${pump.stateDir}/current/meta.json`, 'utf8')));
      const { certificates } = await gateway.device('pump-17');
      const { serial } = await pump.certificate();
      expect(meta.suggestedWindow?.start).toBe(certificates.find((each) => each.serial === serial)?.renewFrom);
    } finally {
      await pump.stop();
    }
  });
});

describe('a fleet is renewed at a controlled rate', () => {
  const COUNT = 6;
  let gateway: GatewayProcess;
  let fleet: AgentProcess[];
  let id: string;
  beforeAll(async () => {
    gateway = await startGateway({ staysReachable: true });
    await gateway.addGroup('line-3', {});
    fleet = Array.from({ length: COUNT }, (_, place) => new AgentProcess(gateway.folder, `press-0${place}`));
    for (const agent of fleet) await agent.enroll((await gateway.addDevice(agent.deviceId, 'line-3')).joinUrl);
    // The last one stays offline.
    await Promise.all(fleet.slice(0, -1).map((agent) => agent.connect()));
  });
  afterAll(async () => {
    await Promise.all((fleet ?? []).map((agent) => agent.stop()));
    await gateway?.dispose();
  });

  const show = () => gateway.operator.call<RenewalCampaignDetail>('showRenewals', { params: [id] });
  const devices = async () =>
    (await gateway.gatehouse<RenewalCampaignDevice[]>('renewal', 'status', id, '--devices')).map(
      ({ deviceId, result }) => [deviceId, result],
    );

  test('is started, paused before all were told, and survives the gateway being killed', async () => {
    const started = await gateway.gatehouse<RenewalCampaignDetail>(
      ...'renewal start --group line-3 --within 8s --rate 6000'.split(' '),
      '--reason',
      'new intermediate',
    );
    expect(started).toMatchObject({ state: 'running', reason: 'new intermediate' });
    ({ id } = started);
    await eventually('a first renewal', show, ({ devices: { renewed } }) => renewed > 0);
    await gateway.gatehouse('renewal', 'pause', id);
    await gateway.kill9();
    await gateway.restart();
    expect((await show()).state).toBe('paused');
    await gateway.gatehouse('renewal', 'resume', id);
  });

  test('tells every device once, and sees the connected ones renewed and the other offline', async () => {
    // The turn of the one that is away may be the last.
    await eventually(
      'all that are online to be renewed, and the other told',
      show,
      ({ devices: { renewed, waiting } }) => {
        return renewed === COUNT - 1 && waiting === 0;
      },
    );
    expect(await devices()).toEqual(
      fleet.map(({ deviceId }, place) => [deviceId, place === COUNT - 1 ? 'offline' : 'renewed']),
    );
    for (const { deviceId } of fleet.slice(0, -1)) {
      const { notices, certificates } = await gateway.device(deviceId);
      expect(notices.filter(({ kind }) => kind === 'renew')).toHaveLength(1);
      expect(certificates).toHaveLength(2);
    }
  });

  test('is finished when the last one comes online, renews and has nothing left to do', async () => {
    await fleet.at(-1)?.connect();
    const campaign = await eventually('the campaign to finish', show, ({ state }) => state === 'finished');
    expect(campaign).toMatchObject({ detail: `${COUNT} renewed, 0 failed`, devices: { renewed: COUNT } });
    const { code, stdout } = await gateway.command('renewal', 'status', id, '--wait');
    expect(code).toBe(0);
    expect(stdout).toContain(`${COUNT} renewed`);
  });

  test('is aborted when devices fail, each with its reason, and those are retried alone', async () => {
    // Nobody may renew with the keys these devices have.
    await gateway.gatehouse('group', 'set', 'line-3', '--keys', 'rsa-3072');
    const started = await gateway.gatehouse<RenewalCampaignDetail>(
      ...'renewal start --group line-3 --rate 6000 --abort-at 5%'.split(' '),
    );
    ({ id } = started);
    await eventually('the campaign to be over', show, ({ state }) => state !== 'running');
    // The first failures ended it; those of the others, ordered in the same turn, are still on their way.
    const listFailed = () => gateway.gatehouse<RenewalCampaignDevice[]>('renewal', 'status', id, '--failed');
    const failed = await eventually('all to have failed', listFailed, ({ length }) => length === COUNT);
    expect(failed.map(({ deviceId, result, detail }) => ({ deviceId, result, detail }))).toEqual(
      fleet.map(({ deviceId }) => ({
        deviceId,
        result: 'refused',
        detail: expect.stringMatching(/^refused: KEY_NOT_ALLOWED in attempt a-[0-9a-f]{16}$/),
      })),
    );
    await gateway.gatehouse('group', 'set', 'line-3', '--keys', 'ec-p256');
    await gateway.gatehouse('renewal', 'retry', id);
    await eventually('all to be renewed', show, ({ devices: { renewed } }) => renewed === COUNT);
  });
});

describe('a fleet with a device that does not come back', () => {
  let gateway: GatewayProcess;
  let there: AgentProcess;
  let away: AgentProcess;
  beforeAll(async () => {
    gateway = await startGateway({ staysReachable: true });
    [there, away] = ['press-01', 'press-02'].map((id) => new AgentProcess(gateway.folder, id)) as [
      AgentProcess,
      AgentProcess,
    ];
    for (const agent of [there, away]) {
      await agent.enroll((await gateway.addDevice(agent.deviceId)).joinUrl);
      await agent.connect();
    }
    await away.stop();
    await gateway.deviceSoon(away.deviceId, 'gone', ({ session }) => session === null);
  });
  afterAll(async () => {
    await there?.stop();
    await away?.stop();
    await gateway?.dispose();
  });

  const show = (id: string) => gateway.operator.call<RenewalCampaignDetail>('showRenewals', { params: [id] });
  const order = async ({ deviceId }: AgentProcess) =>
    (await gateway.device(deviceId)).notices.filter(({ kind }) => kind === 'renew').map(({ id, state }) => [id, state]);

  const renewed = (id: string) =>
    eventually(
      'who is there to be renewed',
      () => show(id),
      ({ devices }) => devices.renewed === 1,
    );

  test('is renewed without it: another campaign is not refused, and ends by itself, also after a kill', async () => {
    const start = (...args: string[]) =>
      gateway.gatehouse<RenewalCampaignDetail>('renewal', 'start', '--all', '--rate', '6000', ...args);
    const older = await start();
    expect((await renewed(older.id)).givesUpAt).toBeGreaterThan(Date.now() + 3_600_000);
    // Long enough for a renewal on a busy machine, and no longer: it is waited for.
    const newer = await start('--give-up-after', '40s');
    expect(
      await eventually(
        'the older one',
        () => show(older.id),
        ({ state }) => state === 'finished',
      ),
    ).toMatchObject({
      detail: '1 renewed, 0 failed, 1 not reached',
    });
    await renewed(newer.id);
    await gateway.kill9();
    await gateway.restart();
    const { code, stdout, stderr } = await gateway.command('renewal', 'status', newer.id, '--wait');
    expect(stdout).toContain('1 renewed, 0 failed, 1 not reached');
    expect(stderr).toContain('--not-reached');
    expect(code).toBe(6);
    const listed = await gateway.gatehouse<RenewalCampaignDevice[]>('renewal', 'status', newer.id, '--not-reached');
    expect(listed).toMatchObject([{ deviceId: away.deviceId, state: 'unreached', result: 'offline' }]);
    expect(listed[0]?.detail).toMatch(/^last connected 2/);
    expect(await order(away)).toEqual([[expect.any(String), 'outbox']]);
  });

  test('when it comes back after all it renews by the one order it has, and every campaign knows', async () => {
    await away.connect();
    const campaigns = await gateway.gatehouse<RenewalCampaignDetail[]>('renewal', 'status');
    expect(campaigns).toHaveLength(2);
    for (const { id } of campaigns)
      await eventually(
        'it to be noted',
        () => show(id),
        ({ devices }) => devices.renewed === 2,
      );
    // It says so after it has come with the new certificate.
    const orders = await eventually(
      'its word',
      () => order(away),
      ([first]) => first?.[1] === 'done',
    );
    expect(orders).toHaveLength(1);
  });
});

describe('after an outage', () => {
  let gateway: GatewayProcess;
  let press: AgentProcess;
  let pump: AgentProcess;
  beforeAll(async () => {
    gateway = await startGateway({ staysReachable: true });
    press = new AgentProcess(gateway.folder, 'press-07');
    await press.enroll((await gateway.addDevice('press-07')).joinUrl);
    pump = new AgentProcess(gateway.folder, 'pump-17');
    await pump.enroll((await gateway.addDevice('pump-17')).joinUrl, '--renew-via', 'mqtt');
    await blockEst(pump);
  });
  afterAll(async () => {
    await pump?.stop();
    await press?.stop();
    await gateway?.dispose();
  });

  const recordOf = async ({ deviceId }: AgentProcess) => (await gateway.device(deviceId)).certificates[0];

  test('a window that passed while the gateway was down is planned anew when it starts', async () => {
    const serials = await Promise.all([press, pump].map(async (agent) => (await recordOf(agent))?.serial));
    await gateway.stop();
    // What a stop of an hour would leave: the windows lie in it. The clock of a machine cannot be moved for a test.
    const { openSqliteStore } = await import('#gateway/store/sqlite-store.ts');
    const store = await openSqliteStore(`${gateway.dataDir}/gateway.db`);
    const passed = { start: Date.now() - 600_000, end: Date.now() - 540_000 };
    await store.write(async (tables) => {
      await tables.settings.set('renewal.able-at', String(Date.now() - 3_600_000));
      for (const serial of serials)
        await tables.certificates.update(serial as never, { renewFrom: passed.start, renewUntil: passed.end });
    });
    await store.close();
    const metaPath = `${pump.stateDir}/current/meta.json`;
    const meta = JSON.parse(await readFile(metaPath, 'utf8')) as object;
    await writeFile(metaPath, JSON.stringify({ ...meta, suggestedWindow: passed }));
    await gateway.restart();
    for (const agent of [press, pump])
      expect((await recordOf(agent))?.renewFrom).toBeGreaterThan(passed.start + 600_000 - 1000);
    await gateway.logged('renewals planned anew after an outage', { certificates: 2 });
  });

  test('an agent that asks when to renew is told', async () => {
    const { authorityKeyId: issuerKeyId = '', serial } = await press.certificate();
    const { body } = await renewalInfo(gateway, formatCertId({ issuerKeyId, serial }));
    expect(Date.parse((JSON.parse(body) as { suggestedWindow: { start: string } }).suggestedWindow.start)).toBe(
      (await recordOf(press))?.renewFrom,
    );
  });

  test('an agent that has only MQTT, and would renew at once, is told by a signed notice and waits', async () => {
    const daemon = await pump.connect();
    const { renewFrom, serial } = (await recordOf(pump)) ?? {};
    await daemon.logged('the gateway suggests when to renew', { serial, start: renewFrom });
    await gateway.deviceSoon('pump-17', 'the notice to be answered', ({ notices }) =>
      notices.some(({ kind, state }) => kind === 'renew' && state === 'done'),
    );
    expect((await pump.status()).nextRenewalAt).toBeGreaterThanOrEqual(renewFrom ?? Infinity);
    await pump.stop();
    expect((await gateway.device('pump-17')).certificates).toHaveLength(1);
    // It has kept what it was told, and is not told again.
    await pump.connect();
    expect((await pump.status()).nextRenewalAt).toBeGreaterThanOrEqual(renewFrom ?? Infinity);
    expect((await gateway.device('pump-17')).notices).toHaveLength(1);
  });
});
