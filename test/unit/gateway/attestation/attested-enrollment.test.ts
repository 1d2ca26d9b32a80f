import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseCertificate } from '#ca/pkix/certificate.ts';
import { readProofLevel } from '#ca/pkix/proof-level.ts';
import { spkiSha256 } from '#ca/pkix/public-key.ts';
import type { EndorsementKind } from '#ca/tpm2/endorsement-kind.ts';
import { parseDeviceId } from '#gateway/contract/device-id.ts';
import { addTicket } from '#gateway/operations/add-device.ts';
import { allowEks, removeAllowedEk } from '#gateway/operations/manage-allowed-eks.ts';
import { removeTpmRoot } from '#gateway/operations/manage-tpm-roots.ts';
import { replaceHardware } from '#gateway/operations/replace-hardware.ts';
import { revokeDevice } from '#gateway/operations/revoke-device.ts';
import { createSimulatedMaker, type SimulatedMaker } from '#simulators/tpm/simulated-maker.ts';
import type { SimulatedTpm } from '#simulators/tpm/simulated-tpm.ts';
import {
  attestedCsr,
  certify,
  challenge,
  enrollAttested,
  enrollWith,
  renewAttested,
  renewWith,
  tpmOf,
  trustedMaker,
} from '#test/fixtures/gateway/attested-enrollment.ts';
import {
  changePolicy,
  connectDevice,
  csrOf,
  HOUR,
  newKey,
  openWorld,
  register,
  type World,
} from '#test/fixtures/gateway/operations-world.ts';

let world: World;
let maker: SimulatedMaker;
let tpm: SimulatedTpm;
beforeEach(async () => {
  world = await openWorld();
  maker = await trustedMaker(world);
  tpm = tpmOf(maker);
});
afterEach(() => world.close());

const press = parseDeviceId('press-07');

async function credentialsOf(id = 'press-07'): Promise<{ deviceId: string; ticket: string }> {
  return { deviceId: id, ticket: await register(world, id) };
}

function connect(der: Buffer, clientId = 'press-07') {
  return connectDevice(world, der, clientId);
}

function ekOf(some: SimulatedTpm): string {
  return spkiSha256(parseCertificate(some.ekCertificate).publicKey);
}

async function newTicket(id = press): Promise<{ deviceId: string; ticket: string }> {
  const { ticket } = await addTicket(world, { deviceId: id, actor: 'test' });
  return { deviceId: id, ticket };
}

describe('enrolling a key that lives in a TPM', () => {
  it.each<EndorsementKind>(['rsa-2048', 'ec-p256', 'ec-p384'])(
    'issues a certificate that says so for a certified %s endorsement key',
    async (kind) => {
      await changePolicy(world, { proof: 'tpm-endorsed' });
      const { certificate } = await enrollAttested(world, tpmOf(maker, kind), await credentialsOf());
      expect(readProofLevel(parseCertificate(certificate))).toBe('tpm-endorsed');
      const serial = parseCertificate(certificate).serial;
      expect(await world.store.read.certificates.find(serial)).toMatchObject({ proofLevel: 'tpm-endorsed' });
      await connect(certificate);
      expect(await world.store.read.devices.find(press)).toMatchObject({
        state: 'enrolled',
        proofLevel: 'tpm-endorsed',
      });
    },
  );

  it('writes the proof level and the endorsement key into the audit', async () => {
    await enrollAttested(world, tpm, await credentialsOf());
    const [approved] = await world.store.read.audit.list({ limit: 1, action: 'enrollment.approved' });
    expect(approved?.detail).toContain(`proof tpm-endorsed (EK ${ekOf(tpm)})`);
  });

  it('takes an endorsement key without certificate as a TPM that nobody vouches for', async () => {
    await changePolicy(world, { proof: 'tpm' });
    const { certificate } = await enrollAttested(world, tpm, await credentialsOf(), { by: 'public area' });
    expect(readProofLevel(parseCertificate(certificate))).toBe('tpm');
  });

  it('takes one of an unknown maker the same way, where the group lets that do', async () => {
    const { certificate } = await enrollAttested(world, tpmOf(createSimulatedMaker()), await credentialsOf());
    expect(readProofLevel(parseCertificate(certificate))).toBe('tpm');
  });

  it('counts a key on the allow list as endorsed', async () => {
    await changePolicy(world, { proof: 'tpm-endorsed' });
    const stranger = tpmOf(createSimulatedMaker());
    await allowEks(world, { entries: [{ ekSha256: ekOf(stranger), deviceId: press }], actor: 'test' });
    const { certificate } = await enrollAttested(world, stranger, await credentialsOf(), { by: 'public area' });
    expect(readProofLevel(parseCertificate(certificate))).toBe('tpm-endorsed');
  });

  it('finds the way to the maker also by intermediates that the device brings along', async () => {
    await removeTpmRoot(world, { sha256: parseCertificate(maker.issuerCertificate).sha256, actor: 'test' });
    await changePolicy(world, { proof: 'tpm-endorsed' });
    const credentials = await credentialsOf();
    await expect(enrollAttested(world, tpm, credentials)).rejects.toMatchObject({ code: 'EK_CERTIFICATE_UNTRUSTED' });
    const ekChain = [maker.issuerCertificate];
    const { certificate } = await enrollAttested(world, tpm, credentials, { ekChain });
    expect(readProofLevel(parseCertificate(certificate))).toBe('tpm-endorsed');
  });

  it('gives the same evidence, sent again after a lost answer, the same certificate', async () => {
    const credentials = await credentialsOf();
    const first = await enrollAttested(world, tpm, credentials);
    world.clock.at += 10 * 60_000;
    const again = await enrollWith(world, credentials, first.csr);
    expect(again).toEqual({ certificate: first.certificate, givenAgain: true });
  });

  it('gives the same key with evidence for a new challenge the same certificate', async () => {
    const credentials = await credentialsOf();
    const first = await enrollAttested(world, tpm, credentials);
    const secret = await challenge(world, tpm, credentials);
    const csr = await attestedCsr(first.key, certify(tpm, first.key, secret));
    expect(await enrollWith(world, credentials, csr)).toEqual({ certificate: first.certificate, givenAgain: true });
  });

  it.each(['unreachable', 'answer lost'] as const)(
    'goes on from the same evidence when the authority was %s',
    async (failure) => {
      const credentials = await credentialsOf();
      const secret = await challenge(world, tpm, credentials);
      const key = tpm.createDeviceKey();
      const csr = await attestedCsr(key, certify(tpm, key, secret));
      world.authority.failure = failure;
      await expect(enrollWith(world, credentials, csr)).rejects.toMatchObject({ code: 'AUTHORITY_UNAVAILABLE' });
      world.authority.failure = 'none';
      await world.restart();
      const { certificate } = await enrollWith(world, credentials, csr);
      expect(readProofLevel(parseCertificate(certificate))).toBe('tpm-endorsed');
    },
  );
});

describe('a challenge', () => {
  it('is good for one key only', async () => {
    const credentials = await credentialsOf();
    const secret = await challenge(world, tpm, credentials);
    const [one, two] = [tpm.createDeviceKey(), tpm.createDeviceKey()];
    const first = await enrollWith(world, credentials, await attestedCsr(one, certify(tpm, one, secret)));
    await connect(first.certificate);
    const renewal = await attestedCsr(two, certify(tpm, two, secret), first.certificate);
    await expect(renewWith(world, first.certificate, renewal)).rejects.toMatchObject({
      code: 'ATTESTATION_CHALLENGE_OF_ANOTHER',
    });
    const renewed = await challenge(world, tpm, { peer: first.certificate });
    const three = tpm.createDeviceKey();
    await renewWith(world, first.certificate, await attestedCsr(two, certify(tpm, two, renewed), first.certificate));
    const second = await attestedCsr(three, certify(tpm, three, renewed), first.certificate);
    await expect(renewWith(world, first.certificate, second)).rejects.toMatchObject({
      code: 'ATTESTATION_CHALLENGE_USED',
    });
  });

  it('is used by one of two requests that come at once', async () => {
    const { certificate } = await enrollAttested(world, tpm, await credentialsOf());
    await connect(certificate);
    const secret = await challenge(world, tpm, { peer: certificate });
    const keys = [tpm.createDeviceKey(), tpm.createDeviceKey(), tpm.createDeviceKey()];
    const csrs = await Promise.all(keys.map((key) => attestedCsr(key, certify(tpm, key, secret), certificate)));
    const results = await Promise.allSettled(csrs.map((csr) => renewWith(world, certificate, csr)));
    const refused = results.filter((result) => result.status === 'rejected');
    expect(refused.map(({ reason }) => (reason as { code: string }).code)).toEqual([
      'ATTESTATION_CHALLENGE_USED',
      'ATTESTATION_CHALLENGE_USED',
    ]);
  });

  it('ends after five minutes', async () => {
    const credentials = await credentialsOf();
    const secret = await challenge(world, tpm, credentials);
    const key = tpm.createDeviceKey();
    world.clock.at += 5 * 60_000;
    const csr = await attestedCsr(key, certify(tpm, key, secret));
    await expect(enrollWith(world, credentials, csr)).rejects.toMatchObject({ code: 'ATTESTATION_CHALLENGE_EXPIRED' });
  });

  it('of another device answers nothing', async () => {
    const [mine, theirs] = [await credentialsOf(), await credentialsOf('press-08')];
    const secret = await challenge(world, tpm, theirs);
    const key = tpm.createDeviceKey();
    const csr = await attestedCsr(key, certify(tpm, key, secret));
    await expect(enrollWith(world, mine, csr)).rejects.toMatchObject({ code: 'ATTESTATION_CHALLENGE_UNKNOWN' });
  });

  it('of another ticket of the same device answers nothing', async () => {
    const old = await credentialsOf();
    const secret = await challenge(world, tpm, old);
    const key = tpm.createDeviceKey();
    const csr = await attestedCsr(key, certify(tpm, key, secret));
    await expect(enrollWith(world, await newTicket(), csr)).rejects.toMatchObject({
      code: 'ATTESTATION_CHALLENGE_OF_ANOTHER',
    });
  });

  it('cannot be opened by a TPM with another attestation key', async () => {
    const other = tpmOf(maker);
    const credentials = await credentialsOf();
    await expect(challenge(world, tpm, credentials, { akPublic: other.ak.publicArea })).rejects.toThrow();
  });

  it('is made for an open ticket only', async () => {
    const credentials = await credentialsOf();
    await expect(challenge(world, tpm, { ...credentials, ticket: 'wrong' })).rejects.toMatchObject({
      code: 'TICKET_UNKNOWN',
    });
    const { certificate } = await enrollAttested(world, tpm, credentials);
    await connect(certificate);
    await expect(challenge(world, tpm, credentials)).rejects.toMatchObject({ code: 'TICKET_SPENT' });
  });

  it('takes the place of the oldest when a device asks again and again', async () => {
    const credentials = await credentialsOf();
    const secrets: Buffer[] = [];
    for (let i = 0; i < 6; i += 1) {
      world.clock.at += 1;
      secrets.push(await challenge(world, tpm, credentials));
    }
    expect(await world.store.read.challenges.listByDevice(press)).toHaveLength(4);
    const key = tpm.createDeviceKey();
    const enrollBy = async (secret: Buffer | undefined) =>
      enrollWith(world, credentials, await attestedCsr(key, certify(tpm, key, secret ?? Buffer.alloc(0))));
    await expect(enrollBy(secrets[1])).rejects.toMatchObject({ code: 'ATTESTATION_CHALLENGE_UNKNOWN' });
    await enrollBy(secrets[2]);
  });

  it('that was refused stands in log and audit under its attempt', async () => {
    await changePolicy(world, { proof: 'tpm-endorsed' });
    await expect(challenge(world, tpm, await credentialsOf(), { by: 'public area' })).rejects.toMatchObject({
      code: 'EK_NOT_ALLOWED',
    });
    const [refusal] = await world.store.read.audit.list({ limit: 1, action: 'enrollment.refused' });
    expect(refusal).toMatchObject({ subject: 'press-07', code: 'EK_NOT_ALLOWED', outcome: 'refused' });
    expect(refusal?.attemptId).toMatch(/^a-/);
  });
});

describe('one TPM, one device', () => {
  it('refuses an endorsement key that stands for another device, in both round trips', async () => {
    const [first, second] = [await credentialsOf(), await credentialsOf('press-08')];
    const early = await challenge(world, tpm, second);
    await enrollAttested(world, tpm, first);
    await expect(challenge(world, tpm, second)).rejects.toMatchObject({ code: 'EK_BELONGS_TO_ANOTHER' });
    const key = tpm.createDeviceKey();
    const csr = await attestedCsr(key, certify(tpm, key, early));
    await expect(enrollWith(world, second, csr)).rejects.toMatchObject({ code: 'EK_BELONGS_TO_ANOTHER' });
  });

  it('refuses one that is allowed for another device', async () => {
    await allowEks(world, { entries: [{ ekSha256: ekOf(tpm), deviceId: parseDeviceId('press-08') }], actor: 'test' });
    await expect(enrollAttested(world, tpm, await credentialsOf())).rejects.toMatchObject({
      code: 'EK_BELONGS_TO_ANOTHER',
    });
  });

  it('refuses another TPM for a known device until an operator says that the hardware was replaced', async () => {
    const other = tpmOf(maker);
    const { certificate } = await enrollAttested(world, tpm, await credentialsOf());
    await connect(certificate);
    await expect(renewAttested(world, other, certificate)).rejects.toMatchObject({ code: 'EK_CHANGED' });
    const replaced = await replaceHardware(world, {
      deviceId: press,
      actor: 'anna',
      requestedAt: world.clock.monotonic(),
    });
    expect(replaced).toMatchObject({ previousEkSha256: ekOf(tpm), serials: [parseCertificate(certificate).serial] });
    await expect(connect(certificate)).rejects.toMatchObject({ code: 'CERTIFICATE_REVOKED' });
    const next = await enrollAttested(world, other, { deviceId: 'press-07', ticket: replaced.ticket });
    await connect(next.certificate);
    const [audited] = await world.store.read.audit.list({ limit: 1, action: 'device.hardware-replaced' });
    expect(audited).toMatchObject({ actor: 'anna', detail: `proof level was tpm-endorsed, EK ${ekOf(tpm)}` });
  });

  it('lets a retired device leave its TPM to another one', async () => {
    await enrollAttested(world, tpm, await credentialsOf());
    await revokeDevice(world, {
      deviceId: press,
      reason: 'cessationOfOperation',
      actor: 'test',
      requestedAt: 0,
      becomes: 'retired',
    });
    await enrollAttested(world, tpm, await credentialsOf('press-08'));
  });
});

describe('the proof level never goes down by itself', () => {
  it('refuses a software key where the group requires a TPM', async () => {
    await changePolicy(world, { proof: 'tpm' });
    const key = newKey();
    const csr = await csrOf(key);
    await expect(enrollWith(world, await credentialsOf(), csr)).rejects.toMatchObject({ code: 'ATTESTATION_REQUIRED' });
  });

  it('refuses to renew the certificate of a TPM key for a key without evidence, whatever the group allows', async () => {
    const { certificate } = await enrollAttested(world, tpm, await credentialsOf());
    await connect(certificate);
    const csr = await csrOf(newKey(), { renews: certificate });
    await expect(renewWith(world, certificate, csr)).rejects.toMatchObject({ code: 'ATTESTATION_REQUIRED' });
  });

  it('refuses a software key with a new ticket for a device that has shown a TPM, also one never used', async () => {
    await enrollAttested(world, tpm, await credentialsOf());
    world.clock.at += 2 * HOUR;
    const csr = await csrOf(newKey());
    await expect(enrollWith(world, await newTicket(), csr)).rejects.toMatchObject({ code: 'ATTESTATION_REQUIRED' });
  });

  it('refuses evidence that is worth less than before: the allow list was shortened, or the maker removed', async () => {
    const stranger = tpmOf(createSimulatedMaker());
    await allowEks(world, { entries: [{ ekSha256: ekOf(stranger) }], actor: 'test' });
    const { certificate } = await enrollAttested(world, stranger, await credentialsOf());
    await connect(certificate);
    await removeAllowedEk(world, { ekSha256: ekOf(stranger), actor: 'test' });
    await expect(renewAttested(world, stranger, certificate, { by: 'public area' })).rejects.toMatchObject({
      code: 'EK_NOT_ALLOWED',
    });
    await expect(renewAttested(world, stranger, certificate)).rejects.toMatchObject({
      code: 'EK_CERTIFICATE_UNTRUSTED',
    });
  });

  it('rises when a device renews with evidence, and the software certificate still waiting is not let in after that', async () => {
    const credentials = await credentialsOf();
    const software = await enrollWith(world, credentials, await csrOf(newKey()));
    await connect(software.certificate);
    const waiting = await renewWith(
      world,
      software.certificate,
      await csrOf(newKey(), { renews: software.certificate }),
    );
    const attested = await renewAttested(world, tpm, software.certificate);
    await connect(attested.certificate);
    expect(await world.store.read.devices.find(press)).toMatchObject({ proofLevel: 'tpm-endorsed' });
    await expect(connect(waiting.certificate)).rejects.toMatchObject({ code: 'PROOF_TOO_LOW' });
  });

  it('renews with a new key of the same TPM', async () => {
    await changePolicy(world, { proof: 'tpm-endorsed' });
    const { certificate } = await enrollAttested(world, tpm, await credentialsOf());
    await connect(certificate);
    const renewed = await renewAttested(world, tpm, certificate);
    expect(readProofLevel(parseCertificate(renewed.certificate))).toBe('tpm-endorsed');
    await connect(renewed.certificate);
  });
});

describe('a nonce in place of a challenge', () => {
  const nonce = Buffer.alloc(32, 7);

  it('renews a device whose attestation key is known', async () => {
    await changePolicy(world, { proof: 'tpm-endorsed' });
    const { certificate } = await enrollAttested(world, tpm, await credentialsOf());
    await connect(certificate);
    const key = tpm.createDeviceKey();
    const csr = await attestedCsr(key, certify(tpm, key, nonce), certificate);
    const renewed = await renewWith(world, certificate, csr, nonce);
    expect(readProofLevel(parseCertificate(renewed.certificate))).toBe('tpm-endorsed');
  });

  it('is nothing on another connection, nor for a device whose attestation key was never challenged', async () => {
    const credentials = await credentialsOf();
    const key = tpm.createDeviceKey();
    const first = await attestedCsr(key, certify(tpm, key, nonce));
    await expect(enrollWith(world, credentials, first, nonce)).rejects.toMatchObject({
      code: 'ATTESTATION_CHALLENGE_UNKNOWN',
    });
    const { certificate } = await enrollAttested(world, tpm, credentials);
    const csr = await attestedCsr(key, certify(tpm, key, nonce), certificate);
    for (const other of [undefined, Buffer.alloc(32, 8)]) {
      await expect(renewWith(world, certificate, csr, other)).rejects.toMatchObject({
        code: 'ATTESTATION_CHALLENGE_UNKNOWN',
      });
    }
  });

  it('counts for less when the maker is not trusted any more', async () => {
    const { certificate } = await enrollAttested(world, tpm, await credentialsOf());
    await connect(certificate);
    await removeTpmRoot(world, { sha256: parseCertificate(maker.rootCertificate).sha256, actor: 'test' });
    const key = tpm.createDeviceKey();
    const csr = await attestedCsr(key, certify(tpm, key, nonce), certificate);
    await expect(renewWith(world, certificate, csr, nonce)).rejects.toMatchObject({ code: 'PROOF_TOO_LOW' });
  });
});
