import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseCertificate } from '#ca/pkix/certificate.ts';
import { spkiSha256 } from '#ca/pkix/public-key.ts';
import { parseDeviceId } from '#gateway/contract/device-id.ts';
import { showDevice } from '#gateway/operations/list-devices.ts';
import { allowEks, listAllowedEks, removeAllowedEk } from '#gateway/operations/manage-allowed-eks.ts';
import { addTpmRoot, listTpmRoots, removeTpmRoot } from '#gateway/operations/manage-tpm-roots.ts';
import { replaceHardware } from '#gateway/operations/replace-hardware.ts';
import { revokeDevice } from '#gateway/operations/revoke-device.ts';
import { sweep } from '#gateway/operations/sweep.ts';
import { createSimulatedMaker } from '#simulators/tpm/simulated-maker.ts';
import { challenge, enrollAttested, tpmOf, trustedMaker } from '#test/fixtures/gateway/attested-enrollment.ts';
import { HOUR, openWorld, register, type World } from '#test/fixtures/gateway/operations-world.ts';

let world: World;
beforeEach(async () => {
  world = await openWorld();
});
afterEach(() => world.close());

const press = parseDeviceId('press-07');
const EK = 'ab'.repeat(32);

describe('makers of TPMs', () => {
  it('are pinned once, a root by being self-signed, and listed and removed', async () => {
    const maker = createSimulatedMaker();
    const root = await addTpmRoot(world, { der: maker.rootCertificate, note: 'line 3', actor: 'anna' });
    const issuer = await addTpmRoot(world, { der: maker.issuerCertificate, actor: 'anna' });
    expect(root).toMatchObject({ kind: 'root', subject: 'CN=Simulated TPM Root', note: 'line 3' });
    expect(issuer).toMatchObject({ kind: 'intermediate', subject: 'CN=Simulated TPM Issuer', note: null });
    world.clock.at += 1000;
    expect(await addTpmRoot(world, { der: maker.rootCertificate, actor: 'berta' })).toEqual(root);
    expect((await listTpmRoots(world, { limit: 9 })).items).toHaveLength(2);
    expect(await removeTpmRoot(world, { sha256: root.sha256, actor: 'anna' })).toEqual(root);
    await expect(removeTpmRoot(world, { sha256: root.sha256, actor: 'anna' })).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
    const audited = await world.store.read.audit.list({ limit: 9, subject: `tpm-root ${root.sha256}` });
    expect(audited.map(({ action, actor }) => `${action} ${actor}`)).toEqual([
      'tpm-root.removed anna',
      'tpm-root.added anna',
    ]);
  });

  it('cannot be pinned by the certificate of one TPM, nor by something else', async () => {
    const tpm = tpmOf(createSimulatedMaker());
    for (const der of [tpm.ekCertificate, Buffer.from('no certificate')]) {
      await expect(addTpmRoot(world, { der, actor: 'anna' })).rejects.toMatchObject({ code: 'REQUEST_INVALID' });
    }
  });
});

describe('the allow list', () => {
  it('says for each key what became of it, and is the same after a second import', async () => {
    const other = 'cd'.repeat(32);
    const allow = (...entries: Parameters<typeof allowEks>[1]['entries']) =>
      allowEks(world, { entries, actor: 'anna' });
    const outcomes = async (made: ReturnType<typeof allow>) => (await made).items.map(({ outcome }) => outcome);
    expect(await outcomes(allow({ ekSha256: EK }, { ekSha256: other, deviceId: press }))).toEqual(['added', 'added']);
    expect(await outcomes(allow({ ekSha256: EK }, { ekSha256: other }))).toEqual(['unchanged', 'changed']);
    const { items } = await listAllowedEks(world, { limit: 9 });
    expect(items.map(({ ekSha256, deviceId }) => [ekSha256, deviceId])).toEqual([
      [EK, null],
      [other, null],
    ]);
    await removeAllowedEk(world, { ekSha256: EK, actor: 'anna' });
    await expect(removeAllowedEk(world, { ekSha256: EK, actor: 'anna' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    const actions = (await world.store.read.audit.list({ limit: 9, subject: `ek ${EK}` })).map(({ action }) => action);
    expect(actions).toEqual(['ek.disallowed', 'ek.allowed']);
  });
});

describe('a device with a TPM', () => {
  it('shows its endorsement key and who made it', async () => {
    const tpm = tpmOf(await trustedMaker(world));
    await enrollAttested(world, tpm, { deviceId: 'press-07', ticket: await register(world, 'press-07') });
    const { tpm: shown } = await showDevice(world, press);
    expect(shown).toMatchObject({
      ekSha256: spkiSha256(parseCertificate(tpm.ekCertificate).publicKey),
      maker: { manufacturer: 'id:53494D55', model: 'Simulated', version: 'id:00010000' },
      proofLevel: 'tpm-endorsed',
      akName: tpm.ak.name.toString('hex'),
    });
    await register(world, 'press-08');
    expect((await showDevice(world, parseDeviceId('press-08'))).tpm).toBeNull();
  });

  it('gets other hardware also when the one before never enrolled, and none when it is retired', async () => {
    await register(world, 'press-07');
    const replace = () => replaceHardware(world, { deviceId: press, actor: 'anna', requestedAt: 0 });
    expect(await replace()).toMatchObject({ previousEkSha256: null, serials: [], deviceId: 'press-07' });
    // Broken off and asked again.
    expect((await replace()).ticket).not.toBe('');
    await revokeDevice(world, {
      deviceId: press,
      reason: 'cessationOfOperation',
      actor: 'anna',
      requestedAt: 0,
      becomes: 'retired',
    });
    await expect(replace()).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
    const nobody = { deviceId: parseDeviceId('nobody'), actor: 'anna', requestedAt: 0 };
    await expect(replaceHardware(world, nobody)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
});

it('challenges that nobody answered are swept away', async () => {
  const tpm = tpmOf(await trustedMaker(world));
  const credentials = { deviceId: 'press-07', ticket: await register(world, 'press-07') };
  await challenge(world, tpm, credentials);
  world.clock.at += 6 * 60_000;
  await sweep(world);
  expect(await world.store.read.challenges.listByDevice(press)).toHaveLength(1);
  world.clock.at += HOUR;
  await sweep(world);
  expect(await world.store.read.challenges.listByDevice(press)).toEqual([]);
});
