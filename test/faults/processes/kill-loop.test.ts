import { randomBytes } from 'node:crypto';
import { watch } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ClaimFile } from '#gateway/contract/claim-file.ts';
import { parseDeviceId } from '#gateway/contract/device-id.ts';
import { enrollTopics } from '#gateway/contract/topics.ts';
import { makeKey, type TestKey } from '#test/fixtures/ca/keys.ts';
import { claimFor } from '#test/fixtures/processes/agent-detours.ts';
import { certificateIn, credentialOf, makeCsr } from '#test/fixtures/processes/device-credential.ts';
import { basic, postCsr } from '#test/fixtures/processes/est-exchange.ts';
import { type GatewayProcess, startGateway } from '#test/fixtures/processes/gateway-process.ts';
import { MqttEnroller } from '#test/fixtures/processes/mqtt-enroller.ts';
import { useOnce } from '#test/fixtures/processes/persistent-device.ts';
import { signedButUnknown } from '#test/fixtures/processes/signed-and-recorded.ts';

const DEVICES = 8;
const KILLS = 6;

/** What a device holds and how it asks, over one door. @returns DER; undefined: come back. @throws at a refusal */
type Asker = { deviceId: string; key: TestKey; ask: () => Promise<Buffer | undefined> };

describe('the gateway is killed again and again while devices enroll at both doors', () => {
  let gateway: GatewayProcess;
  beforeAll(async () => {
    gateway = await startGateway({ staysReachable: true });
  });
  afterAll(() => gateway?.dispose());

  async function overEst(deviceId: string): Promise<Asker> {
    const { ticket } = await gateway.addDevice(deviceId);
    const key = makeKey();
    const csr = await makeCsr(key);
    const ask = async () => {
      const answer = await postCsr(gateway, 'simpleenroll', csr, { headers: basic(deviceId, ticket) }).catch(
        () => null,
      );
      return answer === null || answer.status === 503 ? undefined : certificateIn(answer);
    };
    return { deviceId, key, ask };
  }

  async function overMqtt(deviceId: string): Promise<Asker> {
    await gateway.addDevice(deviceId);
    const claim = JSON.parse(await readFile(await claimFor(gateway, deviceId), 'utf8')) as ClaimFile;
    const shown = { chain: claim.certificates, keyPem: claim.privateKey };
    const options = { clientId: deviceId, topics: enrollTopics(parseDeviceId(deviceId)) };
    const key = makeKey();
    const csr = (await makeCsr(key)).toString('base64');
    const ask = async () => {
      const session = await MqttEnroller.connect(gateway, shown, options).catch(() => undefined);
      const requestId = `a-${randomBytes(8).toString('hex')}`;
      const answer = await session?.ask({ requestId, csr }).catch(() => undefined);
      session?.end();
      if (answer === undefined || answer.status === 503) return undefined;
      if (answer.certificate === undefined) throw new Error(`${deviceId}: ${answer.code} ${answer.detail}`);
      return Buffer.from(answer.certificate, 'base64');
    };
    return { deviceId, key, ask };
  }

  test('each ends with one certificate in use, the same bytes whenever it asked', async () => {
    const names = Array.from({ length: DEVICES }, (_, index) => index);
    const askers = await Promise.all([
      ...names.map((index) => overEst(`est-${index}`)),
      ...names.map((index) => overMqtt(`mqtt-${index}`)),
    ]);
    let kills = 0;
    const killing = (async () => {
      for (; kills < KILLS; kills += 1) {
        // In turn: as it begins to write, and as its authority signs.
        await written(join(gateway.dataDir, ...(kills % 2 === 0 ? ['gateway.db-wal'] : ['ca', 'journal.jsonl'])));
        await gateway.kill9();
        await gateway.restart();
      }
    })();
    const asked = await Promise.all(askers.map((asker) => askThrough(asker, () => kills < KILLS)));
    await killing;

    expect(asked.map(({ seen }) => seen.size)).toEqual(askers.map(() => 1));
    expect(asked.reduce((sum, { unanswered }) => sum + unanswered, 0)).toBeGreaterThan(KILLS);
    for (const [index, { deviceId, key }] of askers.entries()) {
      const [base64 = ''] = asked[index]?.seen ?? [];
      const credential = await credentialOf(gateway, Buffer.from(base64, 'base64'), key);
      await useOnce(gateway, deviceId, credential);
      const { state, certificates } = await gateway.device(deviceId);
      expect(state, deviceId).toBe('enrolled');
      const own = certificates.filter(({ profile }) => profile === 'device');
      expect(own, deviceId).toEqual([expect.objectContaining({ serial: credential.serial, state: 'active' })]);
    }
    expect(await signedButUnknown(gateway)).toEqual([]);
  });
});

/** Asks the same until it has been granted, and then goes on asking, as one does whose answers get lost. */
async function askThrough({ deviceId, ask }: Asker, goesOn: () => boolean) {
  const seen = new Set<string>();
  let unanswered = 0;
  const deadline = performance.now() + 480_000;
  while (seen.size === 0 || goesOn()) {
    const certificate = await ask();
    if (certificate === undefined) unanswered += 1;
    else seen.add(certificate.toString('base64'));
    if (performance.now() > deadline) throw new Error(`${deviceId} was not granted`);
    await delay(50 + Math.random() * 100);
  }
  return { seen, unanswered };
}

/** Resolves when somebody writes to this file, or after a while in which nobody did: then everything is granted. */
async function written(path: string): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const watcher = watch(path, () => resolve());
  const idle = setTimeout(resolve, 500);
  await promise;
  clearTimeout(idle);
  watcher.close();
}
