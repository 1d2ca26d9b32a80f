import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseCertificate } from '#ca/pkix/certificate.ts';
import { bitString, boolean, integer, oid, sequence, setOf, tlv } from '#ca/pkix/der.ts';
import { formatExtension } from '#ca/pkix/extensions.ts';
import { formatName, formatNameText } from '#ca/pkix/name.ts';
import { OID } from '#ca/pkix/oids.ts';
import { parseDeviceId } from '#gateway/contract/device-id.ts';
import { addDevice } from '#gateway/operations/add-device.ts';
import { approveEnrollment } from '#gateway/operations/decide-requests.ts';
import { identifyRequester } from '#gateway/operations/identify-requester.ts';
import {
  addManufacturerCa,
  listManufacturerCas,
  removeManufacturerCa,
} from '#gateway/operations/manage-manufacturer-cas.ts';
import { reenrollDevice } from '#gateway/operations/reenroll-device.ts';
import { revokeDevice } from '#gateway/operations/revoke-device.ts';
import { sweep } from '#gateway/operations/sweep.ts';
import { makeRoot } from '#test/fixtures/ca/certificates.ts';
import { askWith, waiting } from '#test/fixtures/gateway/first-requests.ts';
import { createMaker, type Maker, newGroup, trust } from '#test/fixtures/gateway/makers.ts';
import {
  ARRIVAL,
  changePolicy,
  connectDevice,
  csrOf,
  DAY,
  HOUR,
  newKey,
  openWorld,
  type World,
} from '#test/fixtures/gateway/operations-world.ts';

let world: World;
let maker: Maker;
beforeEach(async () => {
  world = await openWorld();
  maker = createMaker(world);
});
afterEach(() => world.close());

const pump = parseDeviceId('SN-0007');

const keyUsage = (bits: number, unused: number) =>
  formatExtension(OID.keyUsage, true, bitString(Buffer.of(bits), unused));
const endEntity = formatExtension(OID.basicConstraints, true, sequence());

function registerHardware(id: string, hardwareSerial: string, group = 'default') {
  return addDevice(world, { deviceId: parseDeviceId(id), hardwareSerial, group, actor: 'test' });
}

function connect(der: Buffer, id: string = pump) {
  return connectDevice(world, der, id);
}

describe("a maker's certificate", () => {
  it('enrolls the registered device whose hardware serial it names, by the name it is registered with', async () => {
    await trust(world, maker.root);
    await registerHardware('press-07', 'SN-0007');
    const { der } = await askWith(world, maker.device('SN-0007'));
    const { uris, subject } = parseCertificate(der);
    expect(uris).toEqual(['spiffe://test.example/device/press-07']);
    expect(formatNameText(subject)).toBe('serialNumber=SN-0007,CN=press-07');
    await connect(der, 'press-07');
    expect((await world.store.read.devices.find(parseDeviceId('press-07')))?.state).toBe('enrolled');
  });

  it('does so also in the year 9998, under a root alone, an intermediate alone, and without the chain for that', async () => {
    world.clock.at = Date.UTC(9998, 0, 1);
    await trust(world, maker.intermediate);
    await registerHardware('press-07', 'SN-0007');
    const { peer } = maker.device('SN-0007');
    expect(await identifyRequester(world, { der: peer, chain: [] })).toMatchObject({
      kind: 'manufacturer',
      deviceId: 'press-07',
      serialNumber: 'SN-0007',
      ca: { sha256: maker.intermediate.certificate.sha256 },
    });
  });

  it.each([
    ['UTF-8 that is none', 0x0c],
    ['a PrintableString that is not ASCII', 0x13],
  ])('is refused, and no fault of the gateway, when its serialNumber is %s', async (_what, tag) => {
    await trust(world, maker.root);
    const subject = sequence(setOf(sequence(oid(OID.serialNumber), tlv(tag, Buffer.of(0x41, 0xff)))));
    const asked = askWith(world, maker.device('any', { subject }));
    await expect(asked).rejects.toMatchObject({ code: 'MANUFACTURER_CERTIFICATE_UNFIT' });
  });

  it('is refused for a device that is not registered, unless the group takes those', async () => {
    await trust(world, maker.root);
    await expect(askWith(world, maker.device('SN-0007'))).rejects.toMatchObject({ code: 'DEVICE_UNKNOWN' });
    expect(await world.store.read.devices.find(pump)).toBeUndefined();
    await changePolicy(world, { approval: 'auto', owner: 'plant 4' });
    await connect((await askWith(world, maker.device('SN-0007'))).der);
    expect(await world.store.read.devices.find(pump)).toMatchObject({
      group: 'default',
      state: 'enrolled',
      hardwareSerial: 'SN-0007',
      owner: 'plant 4',
    });
    const audit = await world.store.read.audit.list({ subject: pump, action: 'device.added', limit: 5 });
    expect(audit).toMatchObject([{ actor: `manufacturer:${maker.root.certificate.sha256}` }]);
  });

  it('registers an unknown device once when it asks twice at once with different keys; the other key waits', async () => {
    await trust(world, maker.root);
    await changePolicy(world, { approval: 'auto' });
    const shown = maker.device('SN-0007');
    const results = await Promise.allSettled([1, 2, 3].map(() => askWith(world, shown)));
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    const codes = results.flatMap((result) => (result.status === 'rejected' ? [result.reason.code] : []));
    expect(codes).toEqual(['APPROVAL_PENDING', 'APPROVAL_PENDING']);
    expect(await world.store.read.certificates.listByDevice(pump)).toHaveLength(1);
    expect(await waiting(world)).toHaveLength(2);
  });

  it('gives the same key the same certificate again, also after a restart between the commit and the answer', async () => {
    await trust(world, maker.root);
    await changePolicy(world, { approval: 'auto' });
    const shown = maker.device('SN-0007');
    const key = newKey();
    world.authority.failure = 'answer lost';
    await expect(askWith(world, shown, key)).rejects.toMatchObject({ code: 'AUTHORITY_UNAVAILABLE' });
    await world.restart();
    world.authority.failure = 'none';
    const first = await askWith(world, shown, key);
    await world.restart();
    const again = await askWith(world, shown, key);
    expect(again.der).toEqual(first.der);
    expect(await world.store.read.certificates.listByDevice(pump)).toHaveLength(1);
    // In use, it is still the certificate of this key: a device that lost it needs no other.
    await connect(first.der);
    expect(await askWith(world, shown, key)).toMatchObject({ der: first.der, givenAgain: true });
  });

  it('counts a lost answer once: limits and the webhook are not asked again', async () => {
    await trust(world, maker.root);
    await changePolicy(world, { approval: 'auto', maxPerHour: 1, webhook: 'https://policy.example/' });
    const shown = maker.device('SN-0007');
    const key = newKey();
    await askWith(world, shown, key);
    world.webhook.verdict = new Error('gone');
    expect(await askWith(world, shown, key)).toMatchObject({ givenAgain: true });
    expect(world.webhook.questions).toHaveLength(1);
    await expect(askWith(world, maker.device('SN-0008'))).rejects.toMatchObject({ code: 'RATE_LIMITED' });
  });

  it('waits for a person when the device is enrolled with another key', async () => {
    await trust(world, maker.root);
    await changePolicy(world, { approval: 'auto' });
    const first = await askWith(world, maker.device('SN-0007'));
    await connect(first.der);
    await expect(askWith(world, maker.device('SN-0007'))).rejects.toMatchObject({ code: 'APPROVAL_PENDING' });
    await connect(first.der);
    expect(await waiting(world)).toMatchObject([{ known: 'enrolled', reason: expect.stringContaining('another key') }]);
  });

  it('waits for a person after an operator revoked the device: it is good for ever, the decision is not undone', async () => {
    await trust(world, maker.root);
    await changePolicy(world, { approval: 'auto' });
    const { der } = await askWith(world, maker.device('SN-0007'));
    await connect(der);
    await revokeDevice(world, {
      deviceId: pump,
      reason: 'cessationOfOperation',
      actor: 'test',
      requestedAt: 0,
      becomes: 'revoked',
    });
    await expect(askWith(world, maker.device('SN-0007'))).rejects.toMatchObject({ code: 'APPROVAL_PENDING' });
    await revokeDevice(world, {
      deviceId: pump,
      reason: 'cessationOfOperation',
      actor: 'test',
      requestedAt: 0,
      becomes: 'retired',
    });
    await expect(askWith(world, maker.device('SN-0007'))).rejects.toMatchObject({ code: 'DEVICE_NOT_ALLOWED' });
  });

  it('gives nothing to a device that is revoked between the intent and the signature', async () => {
    await trust(world, maker.root);
    await changePolicy(world, { approval: 'auto' });
    world.authority.beforeAnswer = async () => {
      world.authority.beforeAnswer = async () => undefined;
      const order = { deviceId: pump, actor: 'test', requestedAt: 0, becomes: 'revoked' } as const;
      await revokeDevice(world, { ...order, reason: 'cessationOfOperation' });
    };
    await expect(askWith(world, maker.device('SN-0007'))).rejects.toMatchObject({ code: 'DEVICE_NOT_ALLOWED' });
    const held = await world.store.read.certificates.listByDevice(pump);
    expect(held.map(({ state }) => state)).toEqual(['revoked']);
  });

  it('does not bring back a key that was revoked as compromised', async () => {
    await trust(world, maker.root);
    await changePolicy(world, { approval: 'auto' });
    const { der, key } = await askWith(world, maker.device('SN-0007'));
    await connect(der);
    const order = { deviceId: pump, actor: 'test', requestedAt: 0, becomes: 'revoked' } as const;
    await revokeDevice(world, { ...order, reason: 'keyCompromise' });
    await expect(askWith(world, maker.device('SN-0007'), key)).rejects.toMatchObject({ code: 'KEY_NOT_ALLOWED' });
  });

  it('opens nothing any more once its CA is not trusted, also what was issued and not used yet', async () => {
    await trust(world, maker.root);
    await changePolicy(world, { approval: 'auto' });
    const { der } = await askWith(world, maker.device('SN-0007'));
    const { sha256 } = maker.root.certificate;
    await removeManufacturerCa(world, { group: 'default', sha256, actor: 'test' });
    await expect(askWith(world, maker.device('SN-0008'))).rejects.toMatchObject({ code: 'MANUFACTURER_UNTRUSTED' });
    await expect(connect(der)).rejects.toMatchObject({ code: 'CERTIFICATE_REVOKED' });
  });

  it('frees the way when what it got lapses unused', async () => {
    await trust(world, maker.root);
    await changePolicy(world, { approval: 'auto' });
    const first = await askWith(world, maker.device('SN-0007'));
    world.clock.at += HOUR + 1;
    await sweep(world);
    const second = await askWith(world, maker.device('SN-0007'));
    expect(second.serial).not.toBe(first.serial);
  });
});

const other = () => createMaker(world, 'another');

describe('devices of two makers with the same serial number', () => {
  beforeEach(async () => {
    await changePolicy(world, { approval: 'auto' });
    await trust(world, maker.root);
  });

  it('are two: the one does not take the place of the other, once that has been away for too long', async () => {
    const namesake = other();
    await trust(world, namesake.root);
    const first = await askWith(world, maker.device('SN-0007'));
    await connect(first.der);
    world.clock.at += HOUR;
    const csr = await csrOf(newKey(), { renews: first.der });
    const renewal = { ...ARRIVAL, attemptId: 'a-0000000000000001', peer: first.der, csr };
    await connect((await reenrollDevice(world, renewal)).certificate);
    world.clock.at += 30 * DAY;
    await sweep(world);
    const key = newKey();
    await expect(askWith(world, namesake.device('SN-0007'), key)).rejects.toMatchObject({ code: 'APPROVAL_PENDING' });
    const [request] = await waiting(world);
    expect(request).toMatchObject({ reason: expect.stringContaining('another maker') });
    await connect((await askWith(world, maker.device('SN-0007'))).der);
    // A person may say that it is the one all the same.
    await approveEnrollment(world, { id: request?.id ?? '', actor: 'anna' });
  });

  it('do not count as two when both root and intermediate of one maker are trusted', async () => {
    await trust(world, maker.intermediate);
    await connect((await askWith(world, maker.device('SN-0007'))).der);
    world.clock.at += 30 * DAY;
    await sweep(world);
    await connect((await askWith(world, maker.device('SN-0007'))).der);
  });
});

describe('the group of a device that is not registered', () => {
  beforeEach(async () => {
    await newGroup(world, 'line-1', { approval: 'auto' });
    await newGroup(world, 'line-2', { approval: 'auto' });
    await newGroup(world, 'line-3', { approval: 'auto' });
  });

  it('is the one that trusts its maker, the one of the label, or unclear', async () => {
    await trust(world, maker.root, 'line-1');
    await askWith(world, maker.device('SN-0001'));
    expect(await world.store.read.devices.find(parseDeviceId('SN-0001'))).toMatchObject({ group: 'line-1' });
    await trust(world, maker.intermediate, 'line-2');
    await expect(askWith(world, maker.device('SN-0002'))).rejects.toMatchObject({ code: 'GROUP_AMBIGUOUS' });
    await askWith(world, maker.device('SN-0002'), newKey(), { label: 'line-2' });
    expect(await world.store.read.devices.find(parseDeviceId('SN-0002'))).toMatchObject({ group: 'line-2' });
    const toOther = askWith(world, maker.device('SN-0003'), newKey(), { label: 'line-3' });
    await expect(toOther).rejects.toMatchObject({ code: 'MANUFACTURER_UNTRUSTED' });
    const toNone = askWith(world, maker.device('SN-0003'), newKey(), { label: 'line-9' });
    await expect(toNone).rejects.toMatchObject({ code: 'LABEL_UNKNOWN' });
  });

  it('is its own when it is registered, whoever else trusts the maker; another label is refused', async () => {
    await trust(world, maker.root, 'line-1');
    await trust(world, maker.root, 'line-2');
    await registerHardware('press-07', 'SN-0007', 'line-2');
    const other = askWith(world, maker.device('SN-0007'), newKey(), { label: 'line-1' });
    await expect(other).rejects.toMatchObject({ code: 'LABEL_OF_ANOTHER_GROUP' });
    const { der } = await askWith(world, maker.device('SN-0007'));
    await connect(der, 'press-07');
  });

  it('is not one that trusts another maker, although the hardware serial is the same', async () => {
    await trust(world, maker.root, 'line-1');
    await registerHardware('press-07', 'SN-0007', 'line-2');
    await askWith(world, maker.device('SN-0007'));
    expect(await world.store.read.devices.find(pump)).toMatchObject({ group: 'line-1' });
    expect(await world.store.read.certificates.listByDevice(parseDeviceId('press-07'))).toEqual([]);
  });

  it('never makes it another device that is registered by a name like its serial number', async () => {
    await trust(world, maker.root, 'line-1');
    await addDevice(world, { deviceId: pump, group: 'line-1', actor: 'test' });
    await expect(askWith(world, maker.device('SN-0007'))).rejects.toMatchObject({ code: 'DEVICE_NOT_ALLOWED' });
  });
});

describe('refused as nobody', () => {
  beforeEach(async () => {
    await changePolicy(world, { approval: 'auto' });
    await trust(world, maker.root);
  });

  it.each<[string, string, () => { peer: Buffer; chain: Buffer[] }]>([
    ['an unknown maker', 'MANUFACTURER_UNTRUSTED', () => createMaker(world, 'other').device('SN-1')],
    [
      'a maker whose CA has the same name and another key',
      'MANUFACTURER_UNTRUSTED',
      () => createMaker(world).device('SN-1'),
    ],
    [
      'a maker whose intermediate the device does not show',
      'MANUFACTURER_UNTRUSTED',
      () => ({ peer: maker.device('SN-1').peer, chain: [] }),
    ],
    [
      'the CA itself',
      'MANUFACTURER_CERTIFICATE_UNFIT',
      () => ({ peer: maker.intermediate.certificate.der, chain: [] }),
    ],
    [
      'a CA below it',
      'MANUFACTURER_CERTIFICATE_UNFIT',
      () =>
        maker.device('SN-1', {
          extensions: [formatExtension(OID.basicConstraints, true, sequence(boolean(true))), keyUsage(0x06, 1)],
        }),
    ],
    [
      'a CA whose key signs other things as well',
      'MANUFACTURER_CERTIFICATE_UNFIT',
      () =>
        maker.device('SN-1', {
          extensions: [formatExtension(OID.basicConstraints, true, sequence(boolean(true))), keyUsage(0x86, 1)],
        }),
    ],
    [
      'a key that may certify, of no CA',
      'MANUFACTURER_CERTIFICATE_UNFIT',
      () => maker.device('SN-1', { extensions: [endEntity, keyUsage(0x84, 2)] }),
    ],
    [
      'a key for encryption only',
      'MANUFACTURER_CERTIFICATE_UNFIT',
      () => maker.device('SN-1', { extensions: [endEntity, keyUsage(0x20, 5)] }),
    ],
    [
      'a TLS server of the maker',
      'MANUFACTURER_CERTIFICATE_UNFIT',
      () =>
        maker.device('SN-1', {
          extensions: [
            endEntity,
            keyUsage(0x80, 7),
            formatExtension(OID.extendedKeyUsage, false, sequence(oid(OID.serverAuth))),
          ],
        }),
    ],
    [
      'a subject without serialNumber',
      'MANUFACTURER_CERTIFICATE_UNFIT',
      () => maker.device('SN-1', { subject: formatName({ commonName: 'SN-1' }) }),
    ],
    ['a serial number that is no device id', 'MANUFACTURER_CERTIFICATE_UNFIT', () => maker.device('SN 1/2')],
    [
      'a certificate that has expired',
      'CERTIFICATE_EXPIRED',
      () => maker.device('SN-1', { notAfter: world.clock.now() - HOUR }),
    ],
    [
      'a certificate of tomorrow',
      'CERTIFICATE_NOT_YET_VALID',
      () => maker.device('SN-1', { notBefore: world.clock.now() + DAY }),
    ],
    [
      'what is no certificate',
      'MANUFACTURER_CERTIFICATE_UNFIT',
      () => ({ peer: Buffer.from('rubbish'), chain: [Buffer.from('more')] }),
    ],
  ])('%s: %s', async (_what, code, make) => {
    await expect(askWith(world, make())).rejects.toMatchObject({ code });
    expect(await world.store.read.devices.list({ limit: 9 })).toEqual([]);
  });

  it('takes a certificate without keyUsage and without purposes, as makers write them', async () => {
    await askWith(world, maker.device('SN-1', { extensions: [endEntity] }));
  });

  it('a certificate with the serial number of one of ours, whoever signed it', async () => {
    const own = await askWith(world, maker.device('SN-1'));
    const copied = maker.device('SN-2', { serial: integer(Buffer.from(own.serial, 'hex')) });
    await expect(askWith(world, copied)).rejects.toMatchObject({ code: 'CERTIFICATE_UNKNOWN' });
  });

  it("a device's own certificate: it renews", async () => {
    const own = await askWith(world, maker.device('SN-1'));
    await expect(askWith(world, { peer: own.der })).rejects.toMatchObject({ code: 'REQUEST_INVALID' });
  });
});

describe('the CAs of makers', () => {
  it('are listed by group, trusted once each, and removed, each with its place in the audit', async () => {
    await trust(world, maker.root);
    await trust(world, maker.root);
    expect(await listManufacturerCas(world, { group: 'default' })).toMatchObject([
      { sha256: maker.root.certificate.sha256, subject: 'CN=maker root', note: null },
    ]);
    const { sha256 } = maker.root.certificate;
    await removeManufacturerCa(world, { group: 'default', sha256, actor: 'anna' });
    await expect(removeManufacturerCa(world, { group: 'default', sha256, actor: 'anna' })).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
    const actions = (await world.store.read.audit.list({ subject: 'group default', limit: 9 })).map((e) => e.action);
    expect(actions).toEqual(['manufacturer-ca.removed', 'manufacturer-ca.added']);
  });

  it('tell the doors after each change', async () => {
    let told = 0;
    const deps = { ...world, onManufacturerCasChanged: async () => void (told += 1) };
    const { der, sha256 } = maker.root.certificate;
    await addManufacturerCa(deps, { group: 'default', der, actor: 'test' });
    await removeManufacturerCa(deps, { group: 'default', sha256, actor: 'test' });
    expect(told).toBe(2);
  });

  it.each<[string, string, () => Buffer]>([
    ['no certificate', 'REQUEST_INVALID', () => Buffer.from('no')],
    ['the certificate of a device', 'REQUEST_INVALID', () => maker.device('SN-1').peer],
    ['the CA of this gateway', 'REQUEST_INVALID', () => world.intermediate.der],
    ['the root of this gateway', 'REQUEST_INVALID', () => world.root.der],
    [
      'a CA with name constraints, critical or not',
      'REQUEST_INVALID',
      () => makeRoot({ moreExtensions: [formatExtension(OID.nameConstraints, false, sequence())] }).certificate.der,
    ],
  ])('are refused when it is %s', async (_what, code, make) => {
    await expect(addManufacturerCa(world, { group: 'default', der: make(), actor: 'test' })).rejects.toMatchObject({
      code,
    });
  });
});
