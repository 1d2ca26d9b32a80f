import { copyFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { AuditEvent } from '#gateway/contract/operator-api.ts';
import { makeKey } from '#test/fixtures/ca/keys.ts';
import type { Credential } from '#test/fixtures/mqtt/authority.ts';
import {
  certificateIn,
  credentialOf,
  enrollByHand,
  makeRenewalCsr,
} from '#test/fixtures/processes/device-credential.ts';
import { postCsr } from '#test/fixtures/processes/est-exchange.ts';
import { type GatewayProcess, startGateway } from '#test/fixtures/processes/gateway-process.ts';
import { useOnce } from '#test/fixtures/processes/persistent-device.ts';

/**
 * The database comes back from a copy that is older than three renewals of one device and the revocation of another.
 * The authority has its folder: it was not lost.
 */
describe('a gateway on a database from before', () => {
  let gateway: GatewayProcess;
  let first: Credential;
  let last: Credential;
  let revoked: Credential;
  let revokedNow: Credential;

  beforeAll(async () => {
    gateway = await startGateway();
  });
  afterAll(() => gateway?.dispose());

  const database = () => join(gateway.dataDir, 'gateway.db');

  async function renew(deviceId: string, current: Credential) {
    const key = makeKey();
    const tls = { cert: current.chain, key: current.keyPem };
    const answer = await postCsr(gateway, 'simplereenroll', await makeRenewalCsr(key, current), { tls });
    const next = await credentialOf(gateway, certificateIn(answer), key);
    await useOnce(gateway, deviceId, next);
    return next;
  }

  const setLapse = async (lapse: string) =>
    expect((await gateway.command('group', 'set', 'default', '--pending-lapse', lapse)).code).toBe(0);

  const refusal = (deviceId: string, credential: Credential) =>
    useOnce(gateway, deviceId, credential).then(
      () => undefined,
      (error: unknown) => String(error),
    );

  test('is backed up while two devices are enrolled', async () => {
    const enrolled = await enrollByHand(gateway, 'press-1');
    await useOnce(gateway, 'press-1', enrolled);
    const other = await enrollByHand(gateway, 'press-2');
    await useOnce(gateway, 'press-2', other);
    // What the gateway goes by when it is back on this copy; nobody has to be that fast before.
    await setLapse('1s');
    await gateway.stop();
    await copyFile(database(), `${database()}.backup`);
    await gateway.restart();
    await setLapse('1h');

    let newest = enrolled;
    for (let time = 0; time < 3; time += 1) {
      newest = await renew('press-1', newest);
      // Older than an unused one may get here (a second): so it is certain that the next was asked for with it.
      await setTimeout(1_500);
    }
    [first, last] = [enrolled, newest];
    [revoked, revokedNow] = [other, await renew('press-2', other)];
    expect((await gateway.command('device', 'revoke', 'press-2', '--reason', 'keyCompromise')).code).toBe(0);
    expect(await refusal('press-2', revokedNow)).toBeDefined();
    // What no list names yet when the power goes is what a restore cannot know.
    await gateway.logged('CRL published', { entries: 2 });
  });

  test('lets the one in with its newest certificate, and nobody who was revoked', async () => {
    await gateway.kill9();
    for (const suffix of ['', '-wal', '-shm']) await rm(database() + suffix, { force: true });
    await copyFile(`${database()}.backup`, database());
    await gateway.restart();
    await gateway.logged('this store was restored from an older copy', { recovered: 4, revoked: 2 });

    await useOnce(gateway, 'press-1', last);
    expect(await refusal('press-1', first)).toBeDefined();
    expect(await refusal('press-2', revoked)).toBeDefined();
    expect(await refusal('press-2', revokedNow)).toBeDefined();
    expect((await gateway.device('press-2')).state).toBe('revoked');
    const events = await gateway.gatehouse<AuditEvent[]>('audit', 'list', '--action', 'certificate.recovered');
    expect(events).toHaveLength(4);
  });

  test('renews it again, and finds nothing more to learn after another kill', async () => {
    last = await renew('press-1', last);
    await gateway.kill9();
    await gateway.restart();
    await useOnce(gateway, 'press-1', last);
    expect(
      gateway.process.log.filter(({ message }) => message === 'this store was restored from an older copy'),
    ).toEqual([]);
  });
});
