import { expect, test } from 'vitest';
import { parseDeviceId } from '#gateway/contract/device-id.ts';
import { addTicket } from '#gateway/operations/add-device.ts';
import { register } from '#test/fixtures/gateway/operations-world.ts';
import { EnrollingGateway } from '#test/fixtures/mqtt/enrolling-gateway.ts';
import { RawClient } from '#test/fixtures/mqtt/raw-client.ts';

test('a ticket sent as client id, user name and password is refused, and stands nowhere', async () => {
  const gateway = await EnrollingGateway.open();
  try {
    await register(gateway.world, 'press-1');
    const { ticket } = await addTicket(gateway.deps, { deviceId: parseDeviceId('press-1'), actor: 'test' });
    const client = await RawClient.open(gateway.address, (await gateway.claimOf('press-1')) as never);
    expect(await client.connect({ clientId: ticket, username: ticket, password: Buffer.from(ticket) })).toBe(5);
    client.destroy();
    await gateway.background.flush();
    const { log, store } = gateway.world;
    const { audit, attempts } = store.read;
    const kept = JSON.stringify([log.lines, await audit.list({ limit: 99 }), await attempts.list({ limit: 9 })]);
    expect(kept).toContain('CLIENT_ID_MISMATCH');
    expect(kept).not.toContain(ticket);
  } finally {
    await gateway.close();
  }
});
