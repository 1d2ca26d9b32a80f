import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parsePem } from '#ca/pkix/pem.ts';
import { parseDeviceId } from '#gateway/contract/device-id.ts';
import type { EnrollmentCredentials } from '#gateway/operations/authorize-enrollment.ts';
import { claimTicket } from '#gateway/operations/claim-ticket.ts';
import { createTpmChallenge } from '#gateway/operations/create-tpm-challenge.ts';
import { enrollDevice } from '#gateway/operations/enroll-device.ts';
import { nodeRandomness } from '#gateway/runtime/node-randomness.ts';
import type { SimulatedTpm } from '#simulators/tpm/simulated-tpm.ts';
import { attestedCsr, certify, tpmOf, trustedMaker } from '#test/fixtures/gateway/attested-enrollment.ts';
import { createMaker, trust } from '#test/fixtures/gateway/makers.ts';
import {
  ARRIVAL,
  changePolicy,
  connectDevice,
  csrOf,
  newKey,
  openWorld,
  register,
  type World,
} from '#test/fixtures/gateway/operations-world.ts';

let world: World;
let tpm: SimulatedTpm;
beforeEach(async () => {
  world = await openWorld();
  tpm = tpmOf(await trustedMaker(world));
  await changePolicy(world, { proof: 'tpm-endorsed' });
});
afterEach(() => world.close());

async function secretOf(credentials: EnrollmentCredentials): Promise<Buffer> {
  const made = await createTpmChallenge(world, {
    attemptId: nodeRandomness.id('a'),
    ...ARRIVAL,
    credentials,
    ekCertificate: tpm.ekCertificate,
    ekChain: [],
    akPublic: tpm.ak.publicArea,
  });
  return tpm.activateCredential(made.credentialBlob, made.encryptedSecret);
}

async function enrollBoth(credentials: EnrollmentCredentials) {
  const key = tpm.createDeviceKey();
  const csr = await attestedCsr(key, certify(tpm, key, await secretOf(credentials)));
  return enrollDevice(world, { attemptId: nodeRandomness.id('a'), ...ARRIVAL, credentials, csr });
}

describe('both round trips of an attested enrollment', () => {
  it("go with a maker's certificate, for a device that nobody had registered", async () => {
    const maker = createMaker(world);
    await trust(world, maker.root);
    const credentials = { by: 'certificate', ...maker.device('SN-0007') } as const;
    await expect(secretOf(credentials)).rejects.toMatchObject({ code: 'DEVICE_UNKNOWN' });
    await changePolicy(world, { approval: 'auto' });
    const { certificate } = await enrollBoth(credentials);
    await connectDevice(world, certificate, 'SN-0007');
    const id = parseDeviceId('SN-0007');
    expect(await world.store.read.devices.find(id)).toMatchObject({ proofLevel: 'tpm-endorsed' });
    expect(await world.store.read.endorsements.find(id)).toMatchObject({ proofLevel: 'tpm-endorsed' });
  });

  it('go with a claim', async () => {
    await register(world, 'press-07');
    const order = { deviceId: parseDeviceId('press-07'), csr: await csrOf(newKey()), seconds: 600, actor: 'anna' };
    const [peer = Buffer.alloc(0)] = parsePem((await claimTicket(world, order)).certificate, 'CERTIFICATE');
    const { certificate } = await enrollBoth({ by: 'certificate', peer, chain: [] });
    expect(await connectDevice(world, certificate)).toMatchObject({ proofLevel: 'tpm-endorsed' });
  });

  it('come with the same credentials: a challenge of another opens nothing', async () => {
    const maker = createMaker(world);
    await trust(world, maker.root);
    await changePolicy(world, { approval: 'auto' });
    const ticket = await register(world, 'SN-0007');
    await world.store.write(({ devices }) => devices.update(parseDeviceId('SN-0007'), { hardwareSerial: 'SN-0007' }));
    const key = tpm.createDeviceKey();
    const secret = await secretOf({ by: 'ticket', deviceId: 'SN-0007', ticket });
    const csr = await attestedCsr(key, certify(tpm, key, secret));
    const credentials = { by: 'certificate', ...maker.device('SN-0007') } as const;
    const mixed = enrollDevice(world, { attemptId: nodeRandomness.id('a'), ...ARRIVAL, credentials, csr });
    await expect(mixed).rejects.toMatchObject({ code: 'ATTESTATION_CHALLENGE_OF_ANOTHER' });
  });
});
