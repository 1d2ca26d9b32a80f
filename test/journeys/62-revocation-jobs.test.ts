import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { RevocationJobDetail } from '#gateway/contract/revocation-api.ts';
import type { Credential } from '#test/fixtures/mqtt/authority.ts';
import { enrollByHand } from '#test/fixtures/processes/device-credential.ts';
import { eventually } from '#test/fixtures/processes/eventually.ts';
import { type GatewayProcess, startGateway } from '#test/fixtures/processes/gateway-process.ts';
import { useOnce } from '#test/fixtures/processes/persistent-device.ts';

/** At one a second so many take longer than it takes to start a gateway anew, even on a busy machine. */
const COUNT = 40;

describe('a long revocation', () => {
  let gateway: GatewayProcess;
  beforeAll(async () => {
    gateway = await startGateway({ staysReachable: true });
  });
  afterAll(() => gateway?.dispose());

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

  const show = (id: string) => gateway.operator.call<RevocationJobDetail>('showRevocation', { params: [id] });

  test('goes on where it was when the gateway is killed in the middle', async () => {
    const line = await members('line-4', COUNT);
    for (const { deviceId, credential } of line) await useOnce(gateway, deviceId, credential);
    const order = ['revoke', 'group', 'line-4', '--reason', 'superseded', '--rate', '1', '--detach'];
    const begun = await gateway.gatehouse<RevocationJobDetail>(...order);
    expect(begun).toMatchObject({ state: 'running', rate: 1 });
    await gateway.kill9();
    await gateway.restart();
    const before = await show(begun.id);
    expect(before.items.revoked).toBeLessThan(COUNT);
    await eventually(
      'it to go on by itself',
      () => show(begun.id),
      ({ items }) => items.revoked > before.items.revoked,
    );
    // Fast enough now.
    await gateway.gatehouse('revoke', 'pause', begun.id);
    await gateway.gatehouse('revoke', 'resume', begun.id, '--rate', '1000');
    const after = await eventually(
      'the end of the job',
      () => show(begun.id),
      ({ state }) => state === 'finished',
    );
    expect(after.items).toMatchObject({ revoked: COUNT, waiting: 0, unchanged: 0, failed: 0 });
    for (const { deviceId, credential } of line) expect(await refusal(deviceId, credential)).toBeDefined();
  });

  test('can be paused, resumed faster, and cancelled for what is left', async () => {
    const line = await members('line-5', COUNT);
    for (const { deviceId, credential } of line) await useOnce(gateway, deviceId, credential);
    const order = ['revoke', 'group', 'line-5', '--reason', 'superseded', '--rate', '1', '--detach'];
    const { id } = await gateway.gatehouse<RevocationJobDetail>(...order);
    expect(await gateway.gatehouse('revoke', 'pause', id)).toMatchObject({ state: 'paused' });
    const paused = await gateway.gatehouse<RevocationJobDetail>('revoke', 'status', id);
    expect(paused.items.waiting).toBeGreaterThan(0);
    expect(await gateway.gatehouse('revoke', 'cancel', id)).toMatchObject({ state: 'cancelled' });
    const left = await gateway.gatehouse<{ state: string }[]>('revoke', 'status', id, '--items');
    expect(left.filter(({ state }) => state === 'waiting')).toHaveLength(paused.items.waiting);
    const again = await gateway.command('revoke', 'resume', id, '--json');
    expect(again.code).toBe(1);
    expect(again.stderr).toContain('STATE_CONFLICT');
  });
});
