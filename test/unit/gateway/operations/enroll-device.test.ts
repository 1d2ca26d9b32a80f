import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseDeviceId } from '#gateway/contract/device-id.ts';
import { addTicket } from '#gateway/operations/add-device.ts';
import { enrollDevice } from '#gateway/operations/enroll-device.ts';
import { revokeTicket } from '#gateway/operations/manage-tickets.ts';
import { revokeDevice } from '#gateway/operations/revoke-device.ts';
import { showProgress } from '#gateway/operations/show-progress.ts';
import { sweep } from '#gateway/operations/sweep.ts';
import { nodeRandomness } from '#gateway/runtime/node-randomness.ts';
import {
  ARRIVAL,
  changePolicy,
  connectDevice,
  csrOf,
  DAY,
  enroll,
  HOUR,
  newKey,
  openWorld,
  register,
  type World,
} from '#test/fixtures/gateway/operations-world.ts';

let world: World;
beforeEach(async () => {
  world = await openWorld();
});
afterEach(() => world.close());

const press = parseDeviceId('press-07');

function connect(der: Buffer) {
  return connectDevice(world, der);
}

describe('enrolling with a ticket', () => {
  it('issues a pending certificate named by the device record, and its first use makes it active', async () => {
    const { der, serial } = await enroll(world, 'press-07', await register(world, 'press-07'));
    expect(await world.store.read.certificates.find(serial)).toMatchObject({ state: 'pending', deviceId: 'press-07' });
    expect((await world.store.read.devices.find(press))?.state).toBe('registered');
    await connect(der);
    expect(await world.store.read.certificates.find(serial)).toMatchObject({ state: 'active', lapseAt: null });
    expect((await world.store.read.devices.find(press))?.state).toBe('enrolled');
  });

  it('gives the same key the same certificate again, and another key nothing', async () => {
    const ticket = await register(world, 'press-07');
    const key = newKey();
    const first = await enroll(world, 'press-07', ticket, key);
    const again = await enroll(world, 'press-07', ticket, key);
    expect(again.der).toEqual(first.der);
    expect(again.givenAgain).toBe(true);
    await expect(enroll(world, 'press-07', ticket)).rejects.toMatchObject({ code: 'TICKET_SPENT' });
  });

  it('lets an expired ticket open nothing, also for the key it was bound to', async () => {
    await changePolicy(world, { ticketSeconds: 60, pendingLapseSeconds: 3600 });
    const ticket = await register(world, 'press-07');
    const key = newKey();
    await enroll(world, 'press-07', ticket, key);
    world.clock.at += 61_000;
    await expect(enroll(world, 'press-07', ticket, key)).rejects.toMatchObject({ code: 'TICKET_EXPIRED' });
  });

  it('lets one of two concurrent requests with different keys win, and only one', async () => {
    const ticket = await register(world, 'press-07');
    const results = await Promise.allSettled([1, 2, 3, 4].map(() => enroll(world, 'press-07', ticket)));
    expect(results.filter((result) => result.status === 'fulfilled')).toHaveLength(1);
    expect(await world.store.read.certificates.listByDevice(press)).toHaveLength(1);
  });

  it('gives concurrent requests with the same key one certificate', async () => {
    const ticket = await register(world, 'press-07');
    const key = newKey();
    const results = await Promise.all([1, 2, 3, 4].map(() => enroll(world, 'press-07', ticket, key)));
    expect(new Set(results.map(({ serial }) => serial)).size).toBe(1);
    expect(await world.store.read.certificates.listByDevice(press)).toHaveLength(1);
  });

  it('burns the ticket with the first use of the certificate, also for the same key', async () => {
    const ticket = await register(world, 'press-07');
    const { der, key } = await enroll(world, 'press-07', ticket);
    await connect(der);
    await expect(enroll(world, 'press-07', ticket, key)).rejects.toMatchObject({ code: 'TICKET_SPENT' });
  });

  it('frees the ticket when the certificate lapses unused, which revokes it', async () => {
    const ticket = await register(world, 'press-07');
    const { serial, der } = await enroll(world, 'press-07', ticket);
    world.clock.at += HOUR + 1;
    await sweep(world);
    expect(await world.store.read.certificates.find(serial)).toMatchObject({ state: 'revoked' });
    await expect(connect(der)).rejects.toMatchObject({ code: 'CERTIFICATE_REVOKED' });
    const second = await enroll(world, 'press-07', ticket);
    expect(second.serial).not.toBe(serial);
  });

  it('frees the ticket when the certificate ends unused before it lapses', async () => {
    await changePolicy(world, { lifetimeSeconds: 600, overlapSeconds: 60 });
    const ticket = await register(world, 'press-07');
    const { serial } = await enroll(world, 'press-07', ticket);
    world.clock.at += HOUR + 1;
    await sweep(world);
    expect(await world.store.read.certificates.find(serial)).toMatchObject({ state: 'expired' });
    await connect((await enroll(world, 'press-07', ticket)).der);
  });

  it('accepts an empty user name: the ticket names the device', async () => {
    const ticket = await register(world, 'press-07');
    const csr = await csrOf(newKey());
    const answer = await enrollDevice(world, {
      attemptId: 'a-0000000000000001',
      ...ARRIVAL,
      credentials: { by: 'ticket', deviceId: '', ticket },
      csr,
    });
    expect(answer.certificate.length).toBeGreaterThan(300);
  });

  it('takes the ticket as a person types it', async () => {
    const ticket = await register(world, 'press-07');
    const typed = `${ticket.slice(0, 8)}-${ticket.slice(8)}`.toUpperCase();
    await expect(enroll(world, 'press-07', typed)).resolves.toMatchObject({ givenAgain: false });
  });
});

describe('refusals', () => {
  it('keep no ticket that was sent in the place of the device id, in log, audit or attempts', async () => {
    const ticket = await register(world, 'press-07');
    const asked = async (credentials: { deviceId: string; ticket: string }, commonName: string) =>
      enrollDevice(world, {
        attemptId: nodeRandomness.id('a'),
        ...ARRIVAL,
        credentials: { by: 'ticket', ...credentials },
        csr: await csrOf(newKey(), { commonName }),
      });
    const swapped = asked({ deviceId: ticket, ticket: 'press-07' }, ticket);
    await expect(swapped).rejects.toMatchObject({ code: 'TICKET_UNKNOWN' });
    const twice = asked({ deviceId: ticket, ticket }, 'press-07');
    await expect(twice).rejects.toMatchObject({ code: 'TICKET_OF_ANOTHER_DEVICE' });
    const named = asked({ deviceId: 'press-07', ticket }, ticket.toUpperCase());
    await expect(named).rejects.toMatchObject({ code: 'CSR_NAMES_ANOTHER' });
    await world.background.flush();
    const { audit, attempts } = world.store.read;
    const kept = { attempts: await attempts.list({ limit: 9 }), audit: await audit.list({ limit: 99 }) };
    expect(kept.attempts).toHaveLength(3);
    expect(kept.audit.filter(({ action }) => action === 'enrollment.refused')).toHaveLength(2);
    expect(JSON.stringify([world.log.lines, kept]).toLowerCase()).not.toContain(ticket);
    // What the technician's screen is made of.
    const shown = JSON.stringify(await showProgress(world, press)).toLowerCase();
    expect(shown).toContain('csr_names_another');
    expect(shown).not.toContain(ticket);
  });

  it('name the step that refused', async () => {
    const ticket = await register(world, 'press-07');
    const other = await register(world, 'press-08');
    await expect(enroll(world, 'press-07', 'wrong')).rejects.toMatchObject({ code: 'TICKET_UNKNOWN' });
    await expect(enroll(world, 'press-07', other)).rejects.toMatchObject({ code: 'TICKET_OF_ANOTHER_DEVICE' });
    const key = newKey();
    const csr = await csrOf(key, { commonName: 'press-08' });
    const ask = (bytes: Buffer) =>
      enrollDevice(world, {
        attemptId: 'a-0000000000000002',
        ...ARRIVAL,
        credentials: { by: 'ticket', deviceId: 'press-07', ticket },
        csr: bytes,
      });
    await expect(ask(csr)).rejects.toMatchObject({ code: 'CSR_NAMES_ANOTHER' });
    await expect(ask(Buffer.from('rubbish'))).rejects.toMatchObject({ code: 'CSR_MALFORMED' });
    const broken = Buffer.from(await csrOf(key));
    broken.writeUInt8(broken.readUInt8(broken.length - 1) ^ 1, broken.length - 1);
    await expect(ask(broken)).rejects.toMatchObject({ code: 'CSR_SIGNATURE_INVALID' });
  });

  it('an expired ticket', async () => {
    const ticket = await register(world, 'press-07');
    world.clock.at += DAY;
    await expect(enroll(world, 'press-07', ticket)).rejects.toMatchObject({ code: 'TICKET_EXPIRED' });
  });

  it('a revoked ticket', async () => {
    const ticket = await register(world, 'press-07');
    const [row] = await world.store.read.tickets.listByDevice(press);
    await revokeTicket(world, { id: row?.id ?? '', actor: 'test' });
    await expect(enroll(world, 'press-07', ticket)).rejects.toMatchObject({ code: 'TICKET_REVOKED' });
  });

  it('a key the group does not allow', async () => {
    await changePolicy(world, { keys: ['ec-p384'] });
    const ticket = await register(world, 'press-07');
    await expect(enroll(world, 'press-07', ticket)).rejects.toMatchObject({ code: 'KEY_NOT_ALLOWED' });
  });

  it('a software key where the group requires a TPM', async () => {
    await changePolicy(world, { proof: 'tpm' });
    const ticket = await register(world, 'press-07');
    await expect(enroll(world, 'press-07', ticket)).rejects.toMatchObject({ code: 'ATTESTATION_REQUIRED' });
  });

  it('stand in the audit with the attempt id when the device is known, and never hold the ticket', async () => {
    const ticket = await register(world, 'press-07');
    await changePolicy(world, { keys: ['ed25519'] });
    await expect(enroll(world, 'press-07', ticket)).rejects.toThrow();
    const [event] = await world.store.read.audit.list({ subject: 'press-07', action: 'enrollment.refused', limit: 10 });
    expect(event).toMatchObject({
      outcome: 'refused',
      code: 'KEY_NOT_ALLOWED',
      attemptId: expect.stringMatching(/^a-/),
    });
    const everything = JSON.stringify([world.log.lines, await world.store.read.audit.list({ limit: 100 })]);
    expect(everything).not.toContain(ticket);
  });

  it('no new ticket for a device that is enrolled: a new key never displaces the accepted one', async () => {
    const { der } = await enroll(world, 'press-07', await register(world, 'press-07'));
    await connect(der);
    await expect(addTicket(world, { deviceId: press, actor: 'test' })).rejects.toMatchObject({
      code: 'STATE_CONFLICT',
    });
    await revokeDevice(world, {
      deviceId: press,
      reason: 'superseded',
      actor: 'test',
      requestedAt: 0,
      becomes: 'revoked',
    });
    const { ticket } = await addTicket(world, { deviceId: press, actor: 'test' });
    const next = await enroll(world, 'press-07', ticket, newKey());
    await connect(next.der);
    expect((await world.store.read.devices.find(press))?.state).toBe('enrolled');
  });
});

it('does not let a stranger who guesses fill the log', async () => {
  for (let i = 0; i < 10; i += 1) await expect(enroll(world, 'stranger', `guess-${i}`)).rejects.toThrow();
  const lines = world.log.lines.filter(({ message }) => message === 'enrollment refused');
  expect(lines.map(({ level }) => level).filter((level) => level === 'warn')).toHaveLength(2);
});

it('says a mistyped ticket of the device it was tried for, and nothing of a device that is not registered', async () => {
  await register(world, 'press-07');
  await expect(enroll(world, 'press-07', 'mistyped')).rejects.toMatchObject({ code: 'TICKET_UNKNOWN' });
  await expect(enroll(world, 'stranger', 'mistyped')).rejects.toMatchObject({ code: 'TICKET_UNKNOWN' });
  const events = await world.store.read.audit.list({ action: 'enrollment.refused', limit: 10 });
  expect(events).toMatchObject([{ subject: 'press-07', code: 'TICKET_UNKNOWN' }]);
});
