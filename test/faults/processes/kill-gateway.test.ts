import { watch } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { AuditEvent } from '#gateway/contract/operator-api.ts';
import { makeKey } from '#test/fixtures/ca/keys.ts';
import type { Credential } from '#test/fixtures/mqtt/authority.ts';
import { RawClient } from '#test/fixtures/mqtt/raw-client.ts';
import { enrollByHand, makeCsr, makeRenewalCsr } from '#test/fixtures/processes/device-credential.ts';
import { basic, postCsr } from '#test/fixtures/processes/est-exchange.ts';
import { eventually } from '#test/fixtures/processes/eventually.ts';
import { type GatewayProcess, isAlive, startGateway } from '#test/fixtures/processes/gateway-process.ts';
import { mqttDoorOf } from '#test/fixtures/processes/mqtt-door.ts';
import { askUntilGranted, useOnce } from '#test/fixtures/processes/persistent-device.ts';
import { signedButUnknown } from '#test/fixtures/processes/signed-and-recorded.ts';

const DEVICES = 12;

/** When the gateway is killed, told by what it leaves behind at that moment. */
const MOMENTS: [string, (gateway: GatewayProcess, mark: number) => Promise<unknown>][] = [
  ['as it records what it intends', (gateway) => written(join(gateway.dataDir, 'gateway.db-wal'))],
  ['as its authority signs', (gateway) => written(join(gateway.dataDir, 'ca', 'journal.jsonl'))],
  ['as it has said that the first is issued', (gateway, mark) => gateway.logged('certificate issued', {}, mark)],
];

describe('the gateway is killed while devices enroll and renew', () => {
  let gateway: GatewayProcess;
  const attempts: number[] = [];
  const enrolled: { id: string; credential: Credential }[] = [];
  beforeAll(async () => {
    gateway = await startGateway({ staysReachable: true });
  });
  afterAll(() => gateway?.dispose());

  async function killAt(moment: Promise<unknown>): Promise<void> {
    await moment;
    await gateway.kill9();
    await gateway.restart();
  }

  test.each(MOMENTS)(
    '%s: every device that asks again with the same key gets a certificate that works',
    async (when, moment) => {
      const registered = await Promise.all(
        Array.from({ length: DEVICES }, (_, index) => gateway.addDevice(`${when.replaceAll(' ', '-')}-${index}`)),
      );
      const kill = killAt(moment(gateway, gateway.mark()));
      const granted = await Promise.all(
        registered.map(async ({ deviceId, ticket }) => {
          const key = makeKey();
          const csr = await makeCsr(key);
          const ask = () => postCsr(gateway, 'simpleenroll', csr, { headers: basic(deviceId, ticket) });
          return { id: deviceId, ...(await askUntilGranted(gateway, key, ask)) };
        }),
      );
      await kill;
      for (const { id, credential } of granted) {
        await useOnce(gateway, id, credential);
        const { state, certificates } = await gateway.device(id);
        expect(state, id).toBe('enrolled');
        expect(
          certificates.filter((certificate) => certificate.state === 'active'),
          id,
        ).toEqual([expect.objectContaining({ serial: credential.serial })]);
      }
      enrolled.push(...granted);
      attempts.push(...granted.map((device) => device.attempts));
    },
  );

  test.each(MOMENTS)(
    '%s: the same is true of renewals, and the certificate before stays good until then',
    async (when, moment) => {
      const own = enrolled.filter(({ id }) => id.startsWith(when.replaceAll(' ', '-')));
      const kill = killAt(moment(gateway, gateway.mark()));
      const renewed = await Promise.all(
        own.map(async ({ id, credential: current }) => {
          const key = makeKey();
          const csr = await makeRenewalCsr(key, current);
          const tls = { cert: current.chain, key: current.keyPem };
          const ask = () => postCsr(gateway, 'simplereenroll', csr, { tls });
          return { id, current, ...(await askUntilGranted(gateway, key, ask)) };
        }),
      );
      await kill;
      for (const { id, current, credential } of renewed) {
        await useOnce(gateway, id, current);
        await useOnce(gateway, id, credential);
      }
      attempts.push(...renewed.map((device) => device.attempts));
    },
  );

  test('some of them had to ask more than once, otherwise nothing was shown', () => {
    expect(attempts).toHaveLength(2 * MOMENTS.length * DEVICES);
    expect(attempts.filter((count) => count > 1).length).toBeGreaterThan(0);
  });

  test('nothing that was signed is unknown, and nothing is half done', async () => {
    expect(await signedButUnknown(gateway)).toEqual([]);
    const { ok, checks } = await gateway.gatehouse<{ ok: boolean; checks: { ok: boolean }[] }>('doctor');
    expect(checks.filter((check) => !check.ok)).toEqual([]);
    expect(ok).toBe(true);
  });

  test('a session that was open at the kill is not shown as open after the restart', async () => {
    const credential = await enrollByHand(gateway, 'held-1');
    const client = await RawClient.connected(mqttDoorOf(gateway), credential, { clientId: 'held-1' });
    // On record, that is; a session that was opened a moment before the kill may be forgotten.
    const query = { subject: 'held-1', action: 'session.opened' };
    const opened = () => gateway.operator.list<AuditEvent>('listAudit', query);
    await eventually('the session on record', opened, (events) => events.length > 0);
    await gateway.kill9();
    await client.closed;
    await gateway.restart();
    const { session, lastSession } = await gateway.device('held-1');
    expect(session).toBeNull();
    expect(lastSession).toMatchObject({ serial: credential.serial, endReason: 'gateway-restarted' });
  });

  test('a revocation that was answered is not forgotten', async () => {
    const credential = await enrollByHand(gateway, 'revoked-1');
    await useOnce(gateway, 'revoked-1', credential);
    await gateway.operator.call('revokeDevice', { params: ['revoked-1'], body: { reason: 'keyCompromise' } });
    await gateway.kill9();
    await gateway.restart();
    await expect(useOnce(gateway, 'revoked-1', credential)).rejects.toThrow('CONNACK 5');
    expect(await signedButUnknown(gateway)).toEqual([]);
  });

  test('is started again before its authority has noticed: the next one waits until that has ended', async () => {
    const before = gateway.authorityPid;
    process.kill(before, 'SIGSTOP');
    try {
      // Its end is seen by its process id: the authority still holds the other end of what it says.
      process.kill(gateway.ready.pid, 'SIGKILL');
      await eventually(
        'the gateway to be gone',
        () => isAlive(gateway.ready.pid),
        (alive) => !alive,
      );
      const restarted = gateway.restart();
      await Promise.race([restarted, gateway.logged('the authority before has not ended yet')]);
      process.kill(before, 'SIGCONT');
      await restarted;
    } finally {
      if (isAlive(before)) process.kill(before, 'SIGCONT');
    }
    expect(gateway.authorityPid).not.toBe(before);
    await useOnce(gateway, 'after-before', await enrollByHand(gateway, 'after-before'));
    expect(await signedButUnknown(gateway)).toEqual([]);
  });

  test('its authority does not outlive it', async () => {
    const authority = gateway.authorityPid;
    await gateway.kill9();
    await eventually(
      'the authority to be gone',
      () => isAlive(authority),
      (alive) => !alive,
    );
    await gateway.restart();
  });
});

/** Resolves when somebody writes to this file. */
function written(path: string): Promise<void> {
  return new Promise((resolve) => {
    const watcher = watch(path, () => {
      watcher.close();
      resolve();
    });
  });
}
