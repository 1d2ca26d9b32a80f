import { afterEach, beforeEach, expect, test } from 'vitest';
import { parseDeviceId } from '#gateway/contract/device-id.ts';
import { enrollTopics } from '#gateway/contract/topics.ts';
import type { SimulatedTpm } from '#simulators/tpm/simulated-tpm.ts';
import { attestedCsr, certify, tpmOf, trustedMaker } from '#test/fixtures/gateway/attested-enrollment.ts';
import { ask, EnrollingGateway } from '#test/fixtures/mqtt/enrolling-gateway.ts';
import type { RawClient } from '#test/fixtures/mqtt/raw-client.ts';

let gateway: EnrollingGateway;
let tpm: SimulatedTpm;
beforeEach(async () => {
  gateway = await EnrollingGateway.open();
  tpm = tpmOf(await trustedMaker(gateway.world));
});
afterEach(() => gateway.close());

const topicsOf = (name: string) => enrollTopics(parseDeviceId(name));
let requests = 0;

function question(fields: object): object {
  requests += 1;
  return { requestId: `r-${requests}`, ...fields };
}

async function challengeOver(client: RawClient, name: string): Promise<Buffer> {
  const tpmChallenge = {
    version: 1,
    ekCertificate: tpm.ekCertificate.toString('base64'),
    akPublic: tpm.ak.publicArea.toString('base64'),
  };
  const { tpmChallenge: made } = await ask(client, topicsOf(name), question({ tpmChallenge }));
  return tpm.activateCredential(
    Buffer.from(made?.credentialBlob ?? '', 'base64'),
    Buffer.from(made?.encryptedSecret ?? '', 'base64'),
  );
}

test('evidence seen on one session is worth nothing on that of another device, nor for a second key', async () => {
  const [own, foreign] = [await gateway.claim('press-1'), await gateway.claim('press-2')];
  const device = await gateway.enroller('press-1', own);
  const thief = await gateway.enroller('press-2', foreign);
  const secret = await challengeOver(device, 'press-1');
  const [key, second] = [tpm.createDeviceKey(), tpm.createDeviceKey()];
  const csr = (await attestedCsr(key, certify(tpm, key, secret))).toString('base64');

  const unknown = { status: 403, code: 'ATTESTATION_CHALLENGE_UNKNOWN' };
  expect(await ask(thief, topicsOf('press-2'), question({ csr }))).toMatchObject(unknown);
  const issued = await ask(device, topicsOf('press-1'), question({ csr }));
  expect(issued).toMatchObject({ status: 200, code: 'ISSUED' });
  expect(await ask(thief, topicsOf('press-2'), question({ csr }))).toMatchObject(unknown);

  // The answer was lost with its connection: the same evidence, the same certificate.
  device.destroy();
  const again = await gateway.enroller('press-1', own);
  expect(await ask(again, topicsOf('press-1'), question({ csr }))).toMatchObject({
    status: 200,
    code: 'GIVEN_AGAIN',
    certificate: issued.certificate,
  });
  const replayed = (await attestedCsr(second, certify(tpm, second, secret))).toString('base64');
  expect(await ask(again, topicsOf('press-1'), question({ csr: replayed }))).toMatchObject({
    status: 403,
    code: 'ATTESTATION_CHALLENGE_USED',
  });
  expect(await gateway.world.store.read.certificates.listByDevice(parseDeviceId('press-2'))).toEqual([]);
  again.destroy();
  thief.destroy();
});
