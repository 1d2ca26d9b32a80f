import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseCertificate } from '#ca/pkix/certificate.ts';
import { parseCompactJws } from '#ca/pkix/compact-jws.ts';
import { isSerialNumber, type SerialNumber } from '#ca/pkix/serial-number.ts';
import { parseDeviceId } from '#gateway/contract/device-id.ts';
import { type Notice, parseNotice } from '#gateway/contract/notice.ts';
import { watchRefusal } from '#gateway/operations/detect-clones.ts';
import { listAlarms } from '#gateway/operations/manage-alarms.ts';
import { quarantineDevice, raiseAlarm } from '#gateway/operations/quarantine-device.ts';
import { receiveDeviceMessage } from '#gateway/operations/receive-device-message.ts';
import { releaseQuarantine } from '#gateway/operations/release-quarantine.ts';
import type { SimulatedDeviceKey, SimulatedTpm } from '#simulators/tpm/simulated-tpm.ts';
import {
  certify,
  type Evidence,
  enrollAttested,
  renewAttested,
  tpmOf,
  trustedMaker,
} from '#test/fixtures/gateway/attested-enrollment.ts';
import { connectDevice, openWorld, register, type World } from '#test/fixtures/gateway/operations-world.ts';
import { ReportingDevice, settled } from '#test/fixtures/gateway/reporting-device.ts';

const press = parseDeviceId('press-07');
const HOME = '192.0.2.1';

let world: World;
let tpm: SimulatedTpm;
let key: SimulatedDeviceKey;
let certificate: Buffer;
beforeEach(async () => {
  world = await openWorld();
  tpm = tpmOf(await trustedMaker(world));
  const credentials = { deviceId: 'press-07', ticket: await register(world, 'press-07') };
  ({ certificate, key } = await enrollAttested(world, tpm, credentials));
  await connectDevice(world, certificate);
  session().connect(HOME);
});
afterEach(() => world.close());

const serial = () => serialOf(certificate);
const session = () => new ReportingDevice(world, { deviceId: press, serial: serial() }, { run: 'aaaaaaaaaaaaaaaa' });
function serialOf(der: Buffer): SerialNumber {
  const { serial } = parseCertificate(der);
  if (!isSerialNumber(serial)) throw new Error('a serial number');
  return serial;
}

const stateOf = async () => (await world.store.read.devices.find(press))?.state;
const notices = (): Notice[] =>
  world.broker.sent.flatMap(({ token }) => parseNotice(parseCompactJws(token).payload) ?? []);

async function raise(): Promise<Extract<Notice, { kind: 'attest' }>> {
  const evidence = { kind: 'two places', detail: 'seen', address: HOME, serial: serial() } as const;
  await raiseAlarm(world, { deviceId: press, evidence, reaction: 'quarantine' });
  const asked = notices().findLast((notice) => notice.kind === 'attest');
  if (asked?.kind !== 'attest') throw new Error('nobody was asked');
  return asked;
}

async function answer(noticeId: string, { attest, signature, publicArea }: Evidence): Promise<void> {
  const evidence = {
    attest: attest.toString('base64'),
    signature: signature.toString('base64'),
    publicArea: publicArea.toString('base64'),
  };
  const ack = { noticeId, outcome: 'done', evidence };
  const from = { deviceId: press, serial: serial(), address: HOME, since: world.clock.at };
  await receiveDeviceMessage(world, from, 'ack', Buffer.from(JSON.stringify(ack)));
}

const prove = ({ body }: { body: { nonce: string } }, by = tpm, of = key) =>
  certify(by, of, Buffer.from(body.nonce, 'base64url'));

describe('a device with a TPM that was put into quarantine by an alarm', () => {
  it('is asked to prove its key again, and by that is named the original', async () => {
    const asked = await raise();
    expect(await stateOf()).toBe('quarantined');
    await answer(asked.id, prove(asked));
    expect([await stateOf(), world.quarantined.size, world.broker.quarantined.size]).toEqual(['enrolled', 0, 0]);
    expect((await listAlarms(world, { limit: 5 })).items).toMatchObject([
      { state: 'resolved', resolvedBy: 'gateway', decision: expect.stringContaining(`from ${HOME}`) },
    ]);
    expect((await world.store.read.notices.find(asked.id))?.state).toBe('done');
  });

  it('replaces its key then, so that what else holds its certificate is left with a superseded one', async () => {
    const asked = await raise();
    await answer(asked.id, prove(asked));
    expect(notices().at(-1)).toMatchObject({ kind: 'renew', body: { serial: serial(), rekey: true } });
    const renewed = await renewAttested(world, tpm, certificate);
    await connectDevice(world, renewed.certificate);
  });

  it('stays there when another TPM answers, or another key, or an older answer', async () => {
    const stranger = tpmOf(await trustedMaker(world));
    const first = await raise();
    const old = prove(first);
    await answer(first.id, prove(first, stranger, stranger.createDeviceKey()));
    expect(await stateOf()).toBe('quarantined');
    expect(await world.store.read.notices.find(first.id)).toMatchObject({
      state: 'failed',
      detail: expect.stringMatching(/^A/),
    });

    await releaseQuarantine(world, { deviceId: press, decision: 'by hand', actor: 'ann' });
    const second = await raise();
    await answer(second.id, prove(second, tpm, tpm.createDeviceKey()));
    expect(await stateOf()).toBe('quarantined');

    await releaseQuarantine(world, { deviceId: press, decision: 'by hand', actor: 'ann' });
    const third = await raise();
    await answer(third.id, old);
    // The answer to a question that is closed opens nothing, however good it is.
    await answer(second.id, prove(second));
    expect(await stateOf()).toBe('quarantined');
  });

  it('stays there when it says that it cannot', async () => {
    const asked = await raise();
    const ack = { noticeId: asked.id, outcome: 'failed', detail: 'no TPM' };
    const from = { deviceId: press, serial: serial(), address: HOME, since: world.clock.at };
    await receiveDeviceMessage(world, from, 'ack', Buffer.from(JSON.stringify(ack)));
    expect(await stateOf()).toBe('quarantined');
  });

  it('stays there when it says that it has proved itself and shows nothing: that is no proof, and is not written as one', async () => {
    const asked = await raise();
    const from = { deviceId: press, serial: serial(), address: HOME, since: world.clock.at };
    const ack = { noticeId: asked.id, outcome: 'done' };
    await receiveDeviceMessage(world, from, 'ack', Buffer.from(JSON.stringify(ack)));
    expect(await stateOf()).toBe('quarantined');
    expect(await world.store.read.notices.find(asked.id)).toMatchObject({ state: 'failed' });
    const [entry] = await world.store.read.audit.list({ action: 'notice.acknowledged', limit: 1 });
    expect(entry).toMatchObject({ outcome: 'failed', detail: expect.stringContaining('without its evidence') });
  });

  it('is not asked when an operator has put it there: only a person lets it out', async () => {
    await quarantineDevice(world, { deviceId: press, reason: 'stolen?', actor: 'ann' });
    await raiseAlarm(world, {
      deviceId: press,
      evidence: { kind: 'two places', detail: 'seen', address: HOME, serial: null },
      reaction: 'quarantine',
    });
    expect(notices().map(({ kind }) => kind)).toEqual(['quarantine']);
    expect((await listAlarms(world, { limit: 5 })).items).toHaveLength(1);
  });
});

it('a superseded certificate of a device with a TPM is told, but the holder of its successor has proved itself', async () => {
  world.clock.at += 1000;
  const renewed = await renewAttested(world, tpm, certificate);
  await connectDevice(world, renewed.certificate);
  const successor = serialOf(renewed.certificate);
  await new ReportingDevice(world, { deviceId: press, serial: successor }, { run: 'aaaaaaaaaaaaaaaa' }).comeAndReport(
    HOME,
  );
  const refusal = { code: 'CERTIFICATE_SUPERSEDED', deviceId: press, serial: serial(), address: HOME };
  for (let i = 0; i < 2; i += 1) await watchRefusal(world, refusal);
  await settled(world);
  expect((await listAlarms(world, { limit: 5 })).items).toMatchObject([{ kind: 'superseded certificate used' }]);
  expect(await stateOf()).toBe('enrolled');
});
