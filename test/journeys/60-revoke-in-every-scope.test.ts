import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { RevocationJobDetail, RevocationPlanned } from '#gateway/contract/revocation-api.ts';
import { makeKey } from '#test/fixtures/ca/keys.ts';
import type { Credential } from '#test/fixtures/mqtt/authority.ts';
import { RawClient } from '#test/fixtures/mqtt/raw-client.ts';
import {
  certificateIn,
  credentialOf,
  enrollByHand,
  makeRenewalCsr,
} from '#test/fixtures/processes/device-credential.ts';
import { postCsr } from '#test/fixtures/processes/est-exchange.ts';
import { type GatewayProcess, startGateway } from '#test/fixtures/processes/gateway-process.ts';
import { mqttDoorOf } from '#test/fixtures/processes/mqtt-door.ts';
import { useOnce } from '#test/fixtures/processes/persistent-device.ts';

const LINE = 30;

describe('a revocation of many', () => {
  let gateway: GatewayProcess;
  const clients: RawClient[] = [];
  beforeAll(async () => {
    gateway = await startGateway();
  });
  afterAll(async () => {
    for (const client of clients) client.destroy();
    await gateway?.dispose();
  });

  async function connect(deviceId: string, credential: Credential): Promise<RawClient> {
    const client = await RawClient.connected(mqttDoorOf(gateway), credential, { clientId: deviceId });
    clients.push(client);
    return client;
  }

  async function members(group: string, count: number): Promise<{ deviceId: string; credential: Credential }[]> {
    await gateway.addGroup(group, {});
    const ids = Array.from({ length: count }, (_, index) => `${group}-${index}`);
    return Promise.all(
      ids.map(async (deviceId) => ({ deviceId, credential: await enrollByHand(gateway, deviceId, { group }) })),
    );
  }

  const refusal = (deviceId: string, credential: Credential) =>
    useOnce(gateway, deviceId, credential).then(
      () => undefined,
      (error: unknown) => String(error),
    );

  test('of a group closes all of its sessions in one go, and nobody else’s', async () => {
    const line = await members('line-3', LINE);
    const sessions = await Promise.all(line.map(({ deviceId, credential }) => connect(deviceId, credential)));
    const neighbour = await connect('neighbour', await enrollByHand(gateway, 'neighbour'));
    const plan = await gateway.gatehouse<RevocationPlanned>('revoke', 'group', 'line-3', '--dry-run');
    expect(plan).toMatchObject({ certificates: LINE, devices: LINE, sessions: LINE });
    await neighbour.ping();
    // Whoever listens is told beforehand, and given a second to answer; none of them does.
    await Promise.all(sessions.map((session, at) => session.subscribe(`v1/d/${line[at]?.deviceId}/in/notice`)));

    const order = ['revoke', 'group', 'line-3', '--reason', 'cessationOfOperation'];
    const job = await gateway.gatehouse<RevocationJobDetail>(...order);
    await Promise.all(sessions.map(({ closed }) => closed));
    expect(job).toMatchObject({ state: 'finished', items: { revoked: LINE }, closed: { sessions: LINE } });
    // One after the other that would be a second for each.
    expect(job.closed?.max).toBeGreaterThan(900);
    expect(job.closed?.max).toBeLessThan((LINE * 1000) / 2);
    await neighbour.ping();
    for (const { deviceId, credential } of line.slice(0, 3)) {
      expect(await refusal(deviceId, credential)).toMatch(/CONNACK|refused|5/);
      expect((await gateway.device(deviceId)).state).toBe('revoked');
    }
    const { stdout, code } = await gateway.command('revoke', 'status', job.id);
    expect(code).toBe(0);
    expect(stdout).toMatch(new RegExp(`${LINE} revoked[\\s\\S]*${LINE} closed, after`));
  });

  test('of a key hits both devices that share it', async () => {
    const key = makeKey();
    const [original, clone, other] = [
      await enrollByHand(gateway, 'original', { key }),
      await enrollByHand(gateway, 'clone', { key }),
      await enrollByHand(gateway, 'other'),
    ];
    const lines = await Promise.all([connect('original', original), connect('clone', clone)]);
    const bystander = await connect('other', other);
    const spkiSha256 = createHash('sha256').update(key.spki).digest('hex');
    const job = await gateway.gatehouse<RevocationJobDetail>('revoke', 'key', spkiSha256, '--reason', 'keyCompromise');
    await Promise.all(lines.map(({ closed }) => closed));
    expect(job).toMatchObject({ items: { revoked: 2 }, closed: { sessions: 2 } });
    await bystander.ping();
    await expect(enrollByHand(gateway, 'third', { key })).rejects.toThrow(/KEY_NOT_ALLOWED/);
  });

  test('of a lineage hits everything renewed from the first, whichever is named', async () => {
    const first = await enrollByHand(gateway, 'heir');
    await useOnce(gateway, 'heir', first);
    const key = makeKey();
    const tls = { cert: first.chain, key: first.keyPem };
    const answer = await postCsr(gateway, 'simplereenroll', await makeRenewalCsr(key, first), { tls });
    const second = await credentialOf(gateway, certificateIn(answer), key);
    const session = await connect('heir', second);
    const order = ['revoke', 'lineage', second.serial, '--reason', 'superseded'];
    const job = await gateway.gatehouse<RevocationJobDetail>(...order);
    await session.closed;
    expect(job).toMatchObject({ target: first.serial, items: { revoked: 2 } });
    expect(await refusal('heir', first)).toBeDefined();
    expect(await refusal('heir', second)).toBeDefined();
  });

  test('says what is wrong with an order, by exit code and words', async () => {
    const unknown = await gateway.command('revoke', 'group', 'nowhere', '--reason', 'superseded');
    expect(unknown).toMatchObject({ code: 1, stderr: expect.stringContaining('no group "nowhere"') });
    expect(await gateway.command('revoke', 'device', 'other')).toMatchObject({ code: 2 });
    const reason = await gateway.command('revoke', 'device', 'other', '--reason', 'cACompromise');
    expect(reason).toMatchObject({ code: 2 });
  });
});
