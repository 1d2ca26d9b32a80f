import { randomBytes, X509Certificate } from 'node:crypto';
import { watch } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { formatAttestationAttribute } from '#ca/pkix/attestation-attribute.ts';
import { parseCertificate } from '#ca/pkix/certificate.ts';
import { bindEvidence } from '#ca/tpm2/qualifying-data.ts';
import type { ClaimFile } from '#gateway/contract/claim-file.ts';
import type { CsrAnswer } from '#gateway/contract/csr-messages.ts';
import { parseDeviceId } from '#gateway/contract/device-id.ts';
import type { AttemptDetail, EnrollmentRequestSummary } from '#gateway/contract/operator-api.ts';
import { deviceTopics, enrollTopics } from '#gateway/contract/topics.ts';
import { createSimulatedMaker } from '#simulators/tpm/simulated-maker.ts';
import { createSimulatedTpm } from '#simulators/tpm/simulated-tpm.ts';
import { makeKey, type TestKey } from '#test/fixtures/ca/keys.ts';
import type { Credential } from '#test/fixtures/mqtt/authority.ts';
import { claimFor } from '#test/fixtures/processes/agent-detours.ts';
import { credentialOf, enrollByHand, makeCsr, makeRenewalCsr } from '#test/fixtures/processes/device-credential.ts';
import { eventually } from '#test/fixtures/processes/eventually.ts';
import { type GatewayProcess, startGateway } from '#test/fixtures/processes/gateway-process.ts';
import { MqttEnroller, type MqttIdentity } from '#test/fixtures/processes/mqtt-enroller.ts';
import { OpensslMaker } from '#test/fixtures/processes/openssl-maker.ts';
import { lacks } from '#test/fixtures/processes/outside-tools.ts';
import { useOnce } from '#test/fixtures/processes/persistent-device.ts';
import { run } from '#test/fixtures/processes/program.ts';
import { signedButUnknown } from '#test/fixtures/processes/signed-and-recorded.ts';

describe('devices enroll and renew over MQTT alone', () => {
  let gateway: GatewayProcess;
  let maker: OpensslMaker;
  beforeAll(async () => {
    [gateway, maker] = await Promise.all([startGateway({ staysReachable: true }), OpensslMaker.create()]);
    await gateway.addGroup('made', { approval: 'auto' });
    await gateway.addGroup('careful', { approval: 'manual' });
    await gateway.addGroup('attested', { proof: 'tpm-endorsed' });
    await gateway.gatehouse('manufacturer', 'add', maker.root.path, '--group', 'made');
  });
  afterAll(async () => {
    await maker?.remove();
    await gateway?.dispose();
  });

  async function claim(deviceId: string, group?: string): Promise<MqttIdentity> {
    await gateway.addDevice(deviceId, group);
    const file = JSON.parse(await readFile(await claimFor(gateway, deviceId), 'utf8')) as ClaimFile;
    return { chain: file.certificates, keyPem: file.privateKey };
  }

  function enroller(deviceId: string, identity: MqttIdentity): Promise<MqttEnroller> {
    const topics = enrollTopics(parseDeviceId(deviceId));
    return MqttEnroller.connect(gateway, identity, { clientId: deviceId, topics });
  }

  function credential({ certificate }: CsrAnswer, key: TestKey): Promise<Credential> {
    return credentialOf(gateway, Buffer.from(certificate ?? '', 'base64'), key);
  }

  test('with a claim: the certificate and its chain, a session with them, and the claim is spent', async () => {
    const shown = await claim('pump-1');
    const device = await enroller('pump-1', shown);
    const key = makeKey();
    const asked = await request(key);
    const answer = await device.ask(asked);
    expect(answer).toMatchObject({ status: 200, code: 'ISSUED', requestId: asked.requestId });
    const root = new X509Certificate(Buffer.from(answer.chain?.at(-1) ?? '', 'base64'));
    expect(root.fingerprint256.replaceAll(':', '').toLowerCase()).toBe(gateway.ready.rootSha256);
    expect(await device.ask(asked)).toMatchObject({ code: 'GIVEN_AGAIN', certificate: answer.certificate });

    const closing = device.ended;
    await useOnce(gateway, 'pump-1', await credential(answer, key));
    await closing;
    await expect(enroller('pump-1', shown)).rejects.toThrow('Not authorized');
    expect(await gateway.device('pump-1')).toMatchObject({ state: 'enrolled' });
    const attempt = await gateway.gatehouse<AttemptDetail>('attempt', 'show', asked.requestId);
    expect(attempt).toMatchObject({ door: 'mqtt', deviceId: 'pump-1' });
    expect(attempt.steps.map(({ step }) => step)).toContain('credentials');
  });

  test('with the certificate of a maker, below an intermediate that only the device has', async () => {
    const idevid = await maker.identity('SN-1');
    expect(new X509Certificate(idevid.pem).validTo).toContain('9999');
    const device = await enroller('SN-1', idevid);
    const key = makeKey();
    const answer = await device.ask(await request(key));
    expect(answer).toMatchObject({ status: 200 });
    await useOnce(gateway, 'SN-1', await credential(answer, key));
    expect(await gateway.device('SN-1')).toMatchObject({ state: 'enrolled', group: 'made', hardwareSerial: 'SN-1' });
    device.end();
  });

  test('a maker counts from the moment it is trusted to the moment it is not, without a restart', async () => {
    const late = await OpensslMaker.create('Late');
    try {
      const idevid = await late.identity('LATE-1');
      await expect(enroller('LATE-1', idevid)).rejects.toThrow();
      await gateway.gatehouse('manufacturer', 'add', late.root.path, '--group', 'made');
      const device = await enroller('LATE-1', idevid);
      expect(await device.ask(await request(makeKey()))).toMatchObject({ status: 200 });
      const { fingerprint256 } = new X509Certificate(late.root.pem);
      const sha256 = fingerprint256.replaceAll(':', '').toLowerCase();
      await gateway.gatehouse('manufacturer', 'remove', sha256, '--group', 'made');
      expect(await device.ask(await request(makeKey()))).toMatchObject({ status: 403, code: 'MANUFACTURER_UNTRUSTED' });
      device.end();
      await expect(enroller('LATE-1', idevid)).rejects.toThrow();
    } finally {
      await late.remove();
    }
  });

  test('where a person decides: 202, and the certificate by itself once it is approved', async () => {
    const device = await enroller('valve-1', await claim('valve-1', 'careful'));
    const key = makeKey();
    const asked = await request(key);
    const waits = await device.ask(asked);
    expect(waits).toMatchObject({ status: 202, code: 'APPROVAL_PENDING', transient: true });
    expect(waits.retryAfter).toBeGreaterThan(0);
    const requests = await gateway.gatehouse<EnrollmentRequestSummary[]>('enrollment', 'list');
    const [waiting] = requests.filter(({ deviceId }) => deviceId === 'valve-1');
    await gateway.gatehouse('enrollment', 'approve', waiting?.id ?? '');
    const answer = await device.nextAnswer();
    expect(answer).toMatchObject({ status: 200, requestId: asked.requestId });
    await useOnce(gateway, 'valve-1', await credential(answer, key));
    device.end();
  });

  test('the queue survives a restart: approved meanwhile, the next to ask gets it', async () => {
    const shown = await claim('valve-2', 'careful');
    const device = await enroller('valve-2', shown);
    const key = makeKey();
    const asked = await request(key);
    expect(await device.ask(asked)).toMatchObject({ status: 202 });
    await gateway.stop();
    await gateway.restart();
    const requests = await gateway.gatehouse<EnrollmentRequestSummary[]>('enrollment', 'list');
    const [waiting] = requests.filter(({ deviceId }) => deviceId === 'valve-2');
    await gateway.gatehouse('enrollment', 'approve', waiting?.id ?? '');
    const again = await enroller('valve-2', shown);
    const answer = await again.ask(asked);
    expect(answer).toMatchObject({ status: 200 });
    await useOnce(gateway, 'valve-2', await credential(answer, key));
    again.end();
  });

  test('renewal on the own topic, while the session goes on', async () => {
    const current = await enrollByHand(gateway, 'press-1');
    const topics = deviceTopics(parseDeviceId('press-1'));
    const device = await MqttEnroller.connect(gateway, current, { clientId: 'press-1', topics });
    const key = makeKey();
    const csr = (await makeRenewalCsr(key, current)).toString('base64');
    const answer = await device.ask({ requestId: attemptId(), csr });
    expect(answer).toMatchObject({ status: 200, code: 'ISSUED' });
    expect(device.client.connected).toBe(true);
    const closing = device.ended;
    await useOnce(gateway, 'press-1', await credential(answer, key));
    await closing;
    const { certificates } = await gateway.device('press-1');
    expect(certificates.filter(({ state }) => state === 'active')).toHaveLength(2);
  });

  test('with a key in a TPM: both round trips, first with the claim and then to renew', async () => {
    const tpmMaker = createSimulatedMaker(Date.now());
    const rootFile = join(gateway.folder, 'tpm-root.pem');
    const roots = [tpmMaker.rootCertificate, tpmMaker.issuerCertificate];
    await writeFile(rootFile, roots.map((der) => new X509Certificate(der).toString()).join(''));
    await gateway.gatehouse('tpm', 'root', 'add', rootFile);
    const tpm = createSimulatedTpm(tpmMaker);
    const device = await enroller('crane-1', await claim('crane-1', 'attested'));

    const attested = async (asker: MqttEnroller, names: object) => {
      const challenged = await asker.ask({
        requestId: attemptId(),
        tpmChallenge: {
          version: 1,
          ekCertificate: tpm.ekCertificate.toString('base64'),
          akPublic: tpm.ak.publicArea.toString('base64'),
        },
      });
      expect(challenged).toMatchObject({ status: 200, code: 'CHALLENGED' });
      const { credentialBlob = '', encryptedSecret = '' } = challenged.tpmChallenge ?? {};
      const secret = tpm.activateCredential(
        Buffer.from(credentialBlob, 'base64'),
        Buffer.from(encryptedSecret, 'base64'),
      );
      const key = tpm.createDeviceKey();
      const evidence = { ...tpm.certify(key, bindEvidence(secret, key.spki)), publicArea: key.publicArea };
      const csr = await makeCsr(key, { attributes: [formatAttestationAttribute(evidence)], ...names });
      return { key, answer: await asker.ask({ requestId: attemptId(), csr: csr.toString('base64') }) };
    };

    expect(await device.ask(await request(makeKey()))).toMatchObject({ status: 403, code: 'ATTESTATION_REQUIRED' });
    const first = await attested(device, {});
    expect(first.answer).toMatchObject({ status: 200, code: 'ISSUED' });
    const current = await credential(first.answer, first.key);
    const topics = deviceTopics(parseDeviceId('crane-1'));
    const session = await MqttEnroller.connect(gateway, current, { clientId: 'crane-1', topics });
    expect(await gateway.device('crane-1')).toMatchObject({ proofLevel: 'tpm-endorsed' });
    const { subject, subjectAltName } = parseCertificate(current.der);
    const renewed = await attested(session, { subject, ...(subjectAltName === undefined ? {} : { subjectAltName }) });
    expect(renewed.answer).toMatchObject({ status: 200, code: 'ISSUED' });
    await useOnce(gateway, 'crane-1', await credential(renewed.answer, renewed.key));
    session.end();
  });

  test.skipIf(lacks('mosquitto_pub', 'mosquitto_sub'))('with nothing but openssl and mosquitto', async () => {
    const shown = await claim('tank-1');
    const file = (name: string) => join(gateway.folder, name);
    await writeFile(file('tank.chain.pem'), shown.chain);
    await writeFile(file('tank.key.pem'), shown.keyPem, { mode: 0o600 });
    const { host, port } = gateway.ready.mqtt;
    const door = ['-h', host, '-p', String(port), '--cafile', gateway.ready.rootPem];
    const connection = [
      ...door,
      '--cert',
      file('tank.chain.pem'),
      '--key',
      file('tank.key.pem'),
      '-i',
      'tank-1',
      '-k',
      '60',
    ];
    const topics = enrollTopics(parseDeviceId('tank-1'));
    const key = makeKey();
    const message = JSON.stringify({ version: 1, ...(await request(key)) });
    // mosquitto_rr: one connection that subscribes, publishes and waits for the answer.
    const rr = ['-t', topics.csr, '-e', topics.certificate, '-m', message, '-q', '1', '-W', '90', '-V', 'mqttv311'];
    const { code, stdout, stderr } = await run('mosquitto_rr', [...connection, ...rr]);
    expect({ code, stderr }).toMatchObject({ code: 0 });
    const answer = JSON.parse(stdout) as CsrAnswer;
    expect(answer).toMatchObject({ status: 200 });
    await useOnce(gateway, 'tank-1', await credential(answer, key));
  });

  const MOMENTS: [string, (mark: number) => Promise<unknown>][] = [
    ['as it records what it intends', () => written(join(gateway.dataDir, 'gateway.db-wal'))],
    ['as its authority signs', () => written(join(gateway.dataDir, 'ca', 'journal.jsonl'))],
    ['after the commit, before the answers', (mark) => gateway.logged('certificate issued', {}, mark)],
  ];

  async function killAt(moment: Promise<unknown>): Promise<void> {
    await moment;
    await gateway.kill9();
    await gateway.restart();
  }

  test.each(MOMENTS)(
    'killed %s: who asks again with the same key gets the same certificate, and one that works',
    async (when, moment) => {
      const names = Array.from({ length: 6 }, (_, index) => `${when.replaceAll(/\W+/g, '-')}-${index}`);
      const claims = await Promise.all(names.map(async (name) => ({ name, shown: await claim(name) })));
      const mark = gateway.mark();
      const killed = killAt(moment(mark));
      const granted = await Promise.all(
        claims.map(async ({ name, shown }) => {
          const key = makeKey();
          const asked = await request(key);
          const answer = await askUntilGranted(() => enroller(name, shown), asked);
          return { name, key, answer };
        }),
      );
      await killed;
      for (const { name, key, answer } of granted) {
        await useOnce(gateway, name, await credential(answer, key));
        const { certificates } = await gateway.device(name);
        const issued = certificates.filter(({ profile }) => profile === 'device');
        expect(issued, name).toEqual([expect.objectContaining({ state: 'active' })]);
      }
      expect(await signedButUnknown(gateway)).toEqual([]);
    },
  );
});

async function request(key: TestKey, requestId = attemptId()): Promise<{ requestId: string; csr: string }> {
  return { requestId, csr: (await makeCsr(key)).toString('base64') };
}

function attemptId(): string {
  return `a-${randomBytes(8).toString('hex')}`;
}

/** As every device in the field does: connect, ask the same thing, and again when the connection breaks. */
async function askUntilGranted(connect: () => Promise<MqttEnroller>, asked: object): Promise<CsrAnswer> {
  return eventually(
    'a certificate',
    async () => {
      const device = await connect().catch(() => undefined);
      if (device === undefined) return undefined;
      const answer = await device.ask(asked).catch(() => undefined);
      device.end();
      return answer;
    },
    (answer) => answer?.status === 200,
  ).then((answer) => answer as CsrAnswer);
}

/** Resolves when the file is written to from now on. */
function written(path: string): Promise<void> {
  return new Promise((resolve) => {
    const watcher = watch(path, () => {
      watcher.close();
      resolve();
    });
  });
}
