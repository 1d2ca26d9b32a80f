import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseCertificate } from '#ca/pkix/certificate.ts';
import { formatCsr } from '#ca/pkix/csr.ts';
import { oid, sequence, setOf, utf8String } from '#ca/pkix/der.ts';
import { OID } from '#ca/pkix/oids.ts';
import { parsePem } from '#ca/pkix/pem.ts';
import { signMessage } from '#ca/pkix/signature-algorithm.ts';
import { parseDeviceId } from '#gateway/contract/device-id.ts';
import { addDevice } from '#gateway/operations/add-device.ts';
import { createTpmChallenge } from '#gateway/operations/create-tpm-challenge.ts';
import { approveEnrollment } from '#gateway/operations/decide-requests.ts';
import { enrollDevice } from '#gateway/operations/enroll-device.ts';
import { addRegistrar, listRegistrars, removeRegistrar } from '#gateway/operations/manage-registrars.ts';
import { nodeRandomness } from '#gateway/runtime/node-randomness.ts';
import { ask, askWith, waiting } from '#test/fixtures/gateway/first-requests.ts';
import { createMaker, newGroup, trust } from '#test/fixtures/gateway/makers.ts';
import {
  ARRIVAL,
  BOUND,
  connectDevice,
  csrOf,
  type DeviceKey,
  newKey,
  openWorld,
  type World,
} from '#test/fixtures/gateway/operations-world.ts';

let world: World;
beforeEach(async () => {
  world = await openWorld();
  await newGroup(world, 'line-1', { approval: 'auto' });
  await newGroup(world, 'line-2', { approval: 'auto' });
});
afterEach(() => world.close());

async function add(groups: string[], { name = 'assembly', key = newKey() }: { name?: string; key?: DeviceKey } = {}) {
  const added = await addRegistrar(world, { name, groups, csr: await csrOf(key), actor: 'anna' });
  const [peer = Buffer.alloc(0)] = parsePem(added.certificate, 'CERTIFICATE');
  return { ...added, peer };
}

function named(commonName: string, label?: string) {
  return { commonName, ...(label !== undefined && { label }) };
}

describe('a registrar', () => {
  it('has a certificate that says so, and enrolls the device it names, in its group', async () => {
    const { peer, notAfter } = await add(['line-1']);
    const certificate = parseCertificate(peer);
    expect(certificate.extendedKeyUsage).toEqual([OID.clientAuth, OID.cmcRa]);
    expect(certificate.uris).toEqual(['spiffe://test.example/registrar/assembly']);
    expect(notAfter).toBe(certificate.notAfter);
    const { der, key } = await askWith(world, { peer }, newKey(), named('pump-1'));
    expect(await askWith(world, { peer }, key, named('pump-1'))).toMatchObject({ der, givenAgain: true });
    expect(await world.store.read.devices.find(parseDeviceId('pump-1'))).toMatchObject({ group: 'line-1' });
    await connectDevice(world, der, 'pump-1');
    const audit = await world.store.read.audit.list({ subject: 'pump-1', action: 'enrollment.approved', limit: 9 });
    expect(audit).toMatchObject([{ actor: 'registrar:assembly' }]);
  });

  it('enrolls in its own groups only', async () => {
    const { peer } = await add(['line-1']);
    await addDevice(world, { deviceId: parseDeviceId('pump-2'), group: 'line-2', actor: 'test' });
    const foreign = askWith(world, { peer }, newKey(), named('pump-2'));
    await expect(foreign).rejects.toMatchObject({ code: 'REGISTRAR_NOT_ALLOWED' });
    const labelled = askWith(world, { peer }, newKey(), named('pump-3', 'line-2'));
    await expect(labelled).rejects.toMatchObject({ code: 'REGISTRAR_NOT_ALLOWED' });
    expect(await world.store.read.devices.find(parseDeviceId('pump-3'))).toBeUndefined();
  });

  it('of several groups names one by its label', async () => {
    const { peer } = await add(['line-1', 'line-2']);
    const unclear = askWith(world, { peer }, newKey(), named('pump-1'));
    await expect(unclear).rejects.toMatchObject({ code: 'GROUP_AMBIGUOUS' });
    await askWith(world, { peer }, newKey(), named('pump-1', 'line-2'));
    expect(await world.store.read.devices.find(parseDeviceId('pump-1'))).toMatchObject({ group: 'line-2' });
    const moved = askWith(world, { peer }, newKey(), named('pump-1', 'line-1'));
    await expect(moved).rejects.toMatchObject({ code: 'LABEL_OF_ANOTHER_GROUP' });
  });

  it('is held to the policy of the group: unknown devices where they are taken, other keys by a person', async () => {
    const { peer } = await add(['default'], { name: 'careful' });
    const unknown = askWith(world, { peer }, newKey(), named('pump-1'));
    await expect(unknown).rejects.toMatchObject({ code: 'DEVICE_UNKNOWN' });
    await addDevice(world, { deviceId: parseDeviceId('pump-1'), actor: 'test' });
    const { der } = await askWith(world, { peer }, newKey(), named('pump-1'));
    await connectDevice(world, der, 'pump-1');
    const another = askWith(world, { peer }, newKey(), named('pump-1'));
    await expect(another).rejects.toMatchObject({ code: 'APPROVAL_PENDING' });
    expect(await waiting(world)).toMatchObject([{ grounds: 'registrar:careful' }]);
  });

  it('names a device in the CSR, and cannot prove where its key lives', async () => {
    const { peer } = await add(['line-1']);
    await expect(askWith(world, { peer })).rejects.toMatchObject({ code: 'REQUEST_INVALID' });
    const challenge = createTpmChallenge(world, {
      attemptId: 'a-00000000000000aa',
      ...ARRIVAL,
      credentials: { by: 'certificate', peer, chain: [] },
      ekChain: [],
      akPublic: Buffer.alloc(0),
    });
    await expect(challenge).rejects.toMatchObject({ code: 'REGISTRAR_NOT_ALLOWED' });
  });

  it('may pass on a CSR that is bound to the session of its device, which proves nothing here', async () => {
    const { peer } = await add(['line-1']);
    const bound = { attributes: BOUND.attributes };
    await askWith(world, { peer }, newKey(), { ...named('pump-1'), ...bound });
    // Nobody else may, nor the registrar where the CSR has to be bound.
    const device = { deviceId: parseDeviceId('pump-2'), group: 'line-1', hardwareSerial: 'SN-2' };
    const { ticket } = await addDevice(world, { ...device, actor: 'test' });
    const maker = createMaker(world);
    await trust(world, maker.root, 'line-1');
    const invalid = { code: 'CSR_BINDING_INVALID' };
    const withTicket = ask(world, { by: 'ticket', deviceId: 'pump-2', ticket }, newKey(), bound);
    await expect(withTicket).rejects.toMatchObject(invalid);
    await expect(askWith(world, maker.device('SN-2'), newKey(), bound)).rejects.toMatchObject(invalid);
    await newGroup(world, 'line-3', { approval: 'auto', binding: 'required' });
    const strict = await add(['line-3'], { name: 'strict' });
    const passedOn = askWith(world, { peer: strict.peer }, newKey(), { ...named('pump-3'), ...bound });
    await expect(passedOn).rejects.toMatchObject({ code: 'CSR_BINDING_REQUIRED' });
  });

  it('that is removed opens nothing any more, nor does what it enrolled and nobody has used', async () => {
    const { peer, serial } = await add(['line-1']);
    const { der } = await askWith(world, { peer }, newKey(), named('pump-1'));
    await removeRegistrar(world, { name: 'assembly', actor: 'anna' });
    expect(await world.store.read.certificates.find(serial)).toMatchObject({ state: 'revoked' });
    const after = askWith(world, { peer }, newKey(), named('pump-2'));
    await expect(after).rejects.toMatchObject({ code: 'CERTIFICATE_REVOKED' });
    await expect(connectDevice(world, der, 'pump-1')).rejects.toMatchObject({ code: 'CERTIFICATE_REVOKED' });
    expect(await listRegistrars(world)).toEqual([]);
    expect(world.revocations.lists.full?.entries).toBe(1);
  });
});

async function askAs(peer: Buffer, commonName: string, ...serials: string[]) {
  const { privateKey, publicKey, algorithm } = newKey();
  const csr = await formatCsr({
    subject: sequence(
      setOf(sequence(oid(OID.commonName), utf8String(commonName))),
      ...serials.map((serial) => setOf(sequence(oid(OID.serialNumber), utf8String(serial)))),
    ),
    publicKey,
    signatureAlgorithm: algorithm,
    sign: (message) => signMessage(algorithm, message, privateKey),
  });
  const credentials = { by: 'certificate', peer, chain: [] } as const;
  return enrollDevice(world, { attemptId: nodeRandomness.id('a'), ...ARRIVAL, credentials, csr });
}

describe('a device that a registrar names', () => {
  it.each([['\u001b[31mred'], ['Ж'], ['=cmd|x'], [''], ['x'.repeat(65)], ['one', 'two']])(
    'is not registered with the hardware serial %j',
    async (...serials) => {
      const { peer } = await add(['line-1']);
      await expect(askAs(peer, 'pump-1', ...serials)).rejects.toMatchObject({ code: 'REQUEST_INVALID' });
      expect(await world.store.read.devices.find(parseDeviceId('pump-1'))).toBeUndefined();
    },
  );

  it('is not registered with the hardware serial of another one, which would be shut out by that', async () => {
    const { peer } = await add(['line-1']);
    const owner = { deviceId: parseDeviceId('press-07'), hardwareSerial: 'SN-1', group: 'line-1', actor: 'test' };
    await addDevice(world, owner);
    await expect(askAs(peer, 'pump-1', 'SN-1')).rejects.toMatchObject({ code: 'DEVICE_LOOKS_ALIKE' });
    await askAs(peer, 'pump-1', 'SN-2');
    expect(await world.store.read.devices.find(parseDeviceId('pump-1'))).toMatchObject({ hardwareSerial: 'SN-2' });
  });

  it.each([
    ['name', 'PRESS-07', 'SN-2'],
    ['hardware serial', 'pump-1', 'sn-1'],
    ['hardware serial, but for a space,', 'pump-1', 'SN- 1'],
  ])('is not registered beside one with the same %s in other capitals', async (_what, name, serial) => {
    const { peer } = await add(['line-1']);
    await addDevice(world, {
      deviceId: parseDeviceId('press-07'),
      hardwareSerial: 'SN-1',
      group: 'line-1',
      actor: 'test',
    });
    await expect(askAs(peer, name, serial)).rejects.toMatchObject({
      code: 'DEVICE_LOOKS_ALIKE',
      subject: { deviceId: 'press-07' },
    });
    expect(await world.store.read.devices.list({ limit: 9 })).toHaveLength(1);
  });

  it('is not registered so by an approval either', async () => {
    await newGroup(world, 'line-3', { approval: 'manual' });
    const { peer } = await add(['line-3']);
    await expect(askAs(peer, 'pump-1', 'SN-1')).rejects.toMatchObject({ code: 'APPROVAL_PENDING' });
    const owner = { deviceId: parseDeviceId('press-07'), hardwareSerial: 'SN-1', group: 'line-3', actor: 'test' };
    await addDevice(world, owner);
    const [request] = await waiting(world);
    const approved = approveEnrollment(world, { id: request?.id ?? '', actor: 'anna' });
    await expect(approved).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
  });

  it('does not get in with what a removed registrar enrolled when the next one takes its name', async () => {
    const { peer } = await add(['line-1']);
    const { der } = await askWith(world, { peer }, newKey(), named('pump-1'));
    await removeRegistrar(world, { name: 'assembly', actor: 'anna' });
    world.clock.at += 1000;
    await add(['line-1']);
    await expect(connectDevice(world, der, 'pump-1')).rejects.toMatchObject({ code: 'CERTIFICATE_REVOKED' });
  });

  it('gets in with what a registrar enrolled whose certificate has expired and was renewed since', async () => {
    const order = { name: 'assembly', groups: ['line-1'], lifetimeSeconds: 3600, actor: 'anna' };
    const { certificate } = await addRegistrar(world, { ...order, csr: await csrOf(newKey()) });
    const [peer = Buffer.alloc(0)] = parsePem(certificate, 'CERTIFICATE');
    world.clock.at += 3500_000;
    const { der } = await askWith(world, { peer }, newKey(), named('pump-1'));
    world.clock.at += 200_000;
    await addRegistrar(world, { ...order, csr: await csrOf(newKey()) });
    await connectDevice(world, der, 'pump-1');
  });
});

describe('adding a registrar', () => {
  it('gives the same certificate for the same key again, and refuses another key under its name', async () => {
    const key = newKey();
    const first = await add(['line-1'], { key });
    expect((await add(['line-1'], { key })).peer).toEqual(first.peer);
    await expect(add(['line-1'])).rejects.toMatchObject({ code: 'ALREADY_EXISTS' });
    await expect(add(['line-2'], { key })).rejects.toMatchObject({ code: 'ALREADY_EXISTS' });
    expect(await listRegistrars(world)).toMatchObject([{ name: 'assembly', groups: ['line-1'], serial: first.serial }]);
  });

  it('goes on after the gateway was killed before it was recorded', async () => {
    const key = newKey();
    world.authority.failure = 'answer lost';
    await expect(add(['line-1'], { key })).rejects.toMatchObject({ code: 'AUTHORITY_UNAVAILABLE' });
    await world.restart();
    world.authority.failure = 'none';
    const { peer } = await add(['line-1'], { key });
    await askWith(world, { peer }, newKey(), named('pump-1'));
  });

  it('refuses groups that are not there, none at all, and names that cannot stand in a certificate', async () => {
    await expect(add(['nowhere'])).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(add([])).rejects.toMatchObject({ code: 'REQUEST_INVALID' });
    await expect(add(['line-1'], { name: 'a/b' })).rejects.toMatchObject({ code: 'REQUEST_INVALID' });
    await expect(removeRegistrar(world, { name: 'none', actor: 'anna' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
});
