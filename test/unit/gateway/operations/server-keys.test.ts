import { createHook } from 'node:async_hooks';
import { createPrivateKey, createPublicKey } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseCertificate } from '#ca/pkix/certificate.ts';
import { formatCsr } from '#ca/pkix/csr.ts';
import { boolean, type Der, nullValue, oid, printableString, sequence, setOf } from '#ca/pkix/der.ts';
import { formatExtension } from '#ca/pkix/extensions.ts';
import { formatName } from '#ca/pkix/name.ts';
import { OID } from '#ca/pkix/oids.ts';
import { classifyPublicKey } from '#ca/pkix/public-key.ts';
import { signMessage } from '#ca/pkix/signature-algorithm.ts';
import { parseDeviceId } from '#gateway/contract/device-id.ts';
import { addTicket } from '#gateway/operations/add-device.ts';
import { approveEnrollment, refuseEnrollment } from '#gateway/operations/decide-requests.ts';
import { enrollWithServerKey } from '#gateway/operations/enroll-with-server-key.ts';
import { waiting } from '#test/fixtures/gateway/first-requests.ts';
import {
  ARRIVAL,
  changePolicy,
  connectDevice,
  csrOf,
  enroll,
  HOUR,
  newKey,
  openWorld,
  register,
  type World,
} from '#test/fixtures/gateway/operations-world.ts';

let world: World;
let ticket: string;
beforeEach(async () => {
  world = await openWorld();
  await changePolicy(world, { serverKeygen: true });
  ticket = await register(world, 'press-07');
});
afterEach(() => world.close());

const press = parseDeviceId('press-07');

function askForKey(csr: Buffer) {
  return enrollWithServerKey(world, {
    attemptId: `a-${'0'.repeat(16)}`,
    ...ARRIVAL,
    credentials: { by: 'ticket', deviceId: 'press-07', ticket },
    csr,
  });
}

function publicKeyOf(privateKey: Buffer): Buffer {
  const key = createPrivateKey({ key: privateKey, format: 'der', type: 'pkcs8' });
  return createPublicKey(key).export({ type: 'spki', format: 'der' });
}

describe('a key pair made by the gateway', () => {
  it('comes with its certificate, for the kind of key of the CSR, and is found nowhere afterwards', async () => {
    const csrKey = newKey();
    const { privateKey, certificate } = await askForKey(await csrOf(csrKey));
    const { publicKey, uris } = parseCertificate(certificate);
    expect(publicKeyOf(privateKey)).toEqual(publicKey);
    expect(publicKey).not.toEqual(csrKey.publicKey);
    expect(classifyPublicKey(publicKey).kind).toBe('ec-p256');
    expect(uris).toEqual(['spiffe://test.example/device/press-07']);
    await connectDevice(world, certificate);
    await world.background.flush();
    const everything = JSON.stringify([
      world.log.lines,
      await world.store.read.audit.list({ limit: 100 }),
      await world.store.read.attempts.list({ limit: 100 }),
      await world.store.read.certificates.listByDevice(press),
    ]);
    expect(everything).not.toContain(privateKey.toString('base64'));
    expect(everything).not.toContain(privateKey.subarray(-40).toString('hex'));
  });

  it('is made anew when it is asked for again: the one whose answer was lost is revoked', async () => {
    const csr = await csrOf(newKey());
    const first = await askForKey(csr);
    const second = await askForKey(csr);
    expect(second.privateKey).not.toEqual(first.privateKey);
    const states = (await world.store.read.certificates.listByDevice(press)).map(({ state }) => state);
    expect(states.toSorted()).toEqual(['pending', 'revoked']);
    await expect(connectDevice(world, first.certificate)).rejects.toMatchObject({ code: 'CERTIFICATE_REVOKED' });
    await connectDevice(world, second.certificate);
    await expect(askForKey(csr)).rejects.toMatchObject({ code: 'TICKET_SPENT' });
  });

  it('is made anew when the gateway was killed in between; nobody has the one that was lost', async () => {
    const csr = await csrOf(newKey());
    world.authority.failure = 'answer lost';
    await expect(askForKey(csr)).rejects.toMatchObject({ code: 'AUTHORITY_UNAVAILABLE' });
    await world.restart();
    world.authority.failure = 'none';
    await connectDevice(world, (await askForKey(csr)).certificate);
  });

  it('is for who asked first: another CSR finds the ticket spent', async () => {
    await askForKey(await csrOf(newKey()));
    await expect(askForKey(await csrOf(newKey()))).rejects.toMatchObject({ code: 'TICKET_SPENT' });
    await expect(enroll(world, 'press-07', ticket)).rejects.toMatchObject({ code: 'TICKET_SPENT' });
  });

  it('is not made for whoever knows the public key that the ticket was used for', async () => {
    const key = newKey();
    const first = await enroll(world, 'press-07', ticket, key);
    await expect(askForKey(await csrOf(key))).rejects.toMatchObject({ code: 'TICKET_SPENT' });
    await connectDevice(world, first.der);
  });

  it('is not made by an approval that was given to a key of the device', async () => {
    await changePolicy(world, { approval: 'manual' });
    const key = newKey();
    await expect(enroll(world, 'press-07', ticket, key)).rejects.toMatchObject({ code: 'APPROVAL_PENDING' });
    const [request] = await waiting(world);
    expect(request?.keyKind).toBe('ec-p256');
    await approveEnrollment(world, { id: request?.id ?? '', actor: 'anna' });
    await expect(askForKey(await csrOf(key))).rejects.toMatchObject({ code: 'KEY_NOT_ALLOWED' });
    await connectDevice(world, (await enroll(world, 'press-07', ticket, key)).der);
  });

  it('does not need a right signature, nor a key of an allowed kind', async () => {
    await changePolicy(world, { keys: ['ec-p384'] });
    const csr = Buffer.from(await csrOf(newKey()));
    csr.writeUInt8(csr.readUInt8(csr.length - 1) ^ 1, csr.length - 1);
    const { certificate } = await askForKey(csr);
    expect(classifyPublicKey(parseCertificate(certificate).publicKey).kind).toBe('ec-p384');
  });

  it('is not made for what waits for a person or is refused, however often that asks', async () => {
    const [csr, another] = await Promise.all([csrOf(newKey()), csrOf(newKey())]);
    let made = 0;
    const hook = createHook({ init: (_id, type) => void (type === 'KEYPAIRGENREQUEST' && (made += 1)) }).enable();
    try {
      await changePolicy(world, { approval: 'manual' });
      for (let asked = 0; asked < 3; asked += 1)
        await expect(askForKey(csr)).rejects.toMatchObject({ code: 'APPROVAL_PENDING' });
      const [request] = await waiting(world);
      await refuseEnrollment(world, { id: request?.id ?? '', reason: 'not ours', actor: 'anna' });
      await expect(askForKey(csr)).rejects.toMatchObject({ code: 'APPROVAL_REFUSED' });
      expect(made).toBe(0);
      await changePolicy(world, { approval: 'registered' });
      await askForKey(another);
      expect(made).toBe(1);
    } finally {
      hook.disable();
    }
  });

  it('waits for a person like any other', async () => {
    await changePolicy(world, { approval: 'manual' });
    const csr = await csrOf(newKey());
    await expect(askForKey(csr)).rejects.toMatchObject({ code: 'APPROVAL_PENDING' });
    const [request] = await waiting(world);
    expect(request?.keyKind).toBe('ec-p256 made here');
    await approveEnrollment(world, { id: request?.id ?? '', actor: 'anna' });
    await askForKey(csr);
    await connectDevice(world, (await askForKey(csr)).certificate);
  });
});

describe('a device that asks for key pairs in a loop', () => {
  it('takes no place of its neighbours in the hour of the group', async () => {
    await changePolicy(world, { maxPerHour: 2 });
    const csr = await csrOf(newKey());
    for (let asked = 0; asked < 3; asked += 1) await askForKey(csr);
    await enroll(world, 'press-08', await register(world, 'press-08'));
    await expect(enroll(world, 'press-09', await register(world, 'press-09'))).rejects.toMatchObject({
      code: 'RATE_LIMITED',
    });
    await askForKey(csr);
  });

  it('is stopped before it fills journal and lists, and may ask again later, or when a person lets it in anew', async () => {
    const csr = await csrOf(newKey());
    for (let asked = 0; asked < 20; asked += 1) await askForKey(csr);
    const stopped = { code: 'RATE_LIMITED', retryAfter: expect.any(Number) };
    await expect(askForKey(csr)).rejects.toMatchObject(stopped);
    world.clock.at += 1;
    const later = await addTicket(world, { deviceId: press, actor: 'ben' });
    ticket = later.ticket;
    await askForKey(csr);
    world.clock.at += HOUR;
    await connectDevice(world, (await askForKey(csr)).certificate);
  });
});

describe('no key pair is made', () => {
  it('where the group does not say so', async () => {
    await changePolicy(world, { serverKeygen: false });
    await expect(askForKey(await csrOf(newKey()))).rejects.toMatchObject({ code: 'SERVER_KEYGEN_OFF' });
  });

  it('where the key has to live in a TPM', async () => {
    // The device has shown one before.
    await world.store.write(({ devices }) => devices.update(press, { proofLevel: 'tpm' }));
    await expect(askForKey(await csrOf(newKey()))).rejects.toMatchObject({ code: 'ATTESTATION_REQUIRED' });
  });

  it.each([OID.decryptKeyIdentifier, OID.asymmetricDecryptKeyIdentifier])(
    'to be wrapped with a key that is not known: %s',
    async (type) => {
      const { privateKey, publicKey, algorithm } = newKey();
      const attribute: Der = sequence(oid(type), setOf(nullValue()));
      const csr = await formatCsr({
        subject: formatName({}),
        publicKey,
        attributes: [attribute],
        signatureAlgorithm: algorithm,
        sign: (message) => signMessage(algorithm, message, privateKey),
      });
      await expect(askForKey(csr)).rejects.toMatchObject({ code: 'REQUEST_INVALID' });
    },
  );

  it('for a CSR that asks for CA rights, though its signature means nothing', async () => {
    const ca = sequence(formatExtension(OID.basicConstraints, true, sequence(boolean(true))));
    const csr = await csrOf(newKey(), { attributes: [sequence(oid(OID.extensionRequest), setOf(ca))] });
    await expect(askForKey(csr)).rejects.toMatchObject({ code: 'CSR_ASKS_FOR_CA' });
  });

  it('for a CSR that is bound to another session', async () => {
    const elsewhere = printableString(Buffer.alloc(32, 7).toString('base64'));
    const csr = await csrOf(newKey(), { attributes: [sequence(oid(OID.challengePassword), setOf(elsewhere))] });
    await expect(askForKey(csr)).rejects.toMatchObject({ code: 'CSR_BINDING_INVALID' });
  });

  it('for a CSR that asks for another name', async () => {
    const csr = await csrOf(newKey(), { attributes: [sequence(oid(OID.changeSubjectName), setOf(sequence()))] });
    await expect(askForKey(csr)).rejects.toMatchObject({ code: 'CSR_NAMES_ANOTHER' });
  });

  it('for a CSR that names another device', async () => {
    const other = await csrOf(newKey(), { commonName: 'press-08' });
    await expect(askForKey(other)).rejects.toMatchObject({ code: 'CSR_NAMES_ANOTHER' });
  });
});
