import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeKey } from '#test/fixtures/ca/keys.ts';
import { enrollByHand, makeCsr, makeRenewalCsr } from '#test/fixtures/processes/device-credential.ts';
import { basic, postCsr } from '#test/fixtures/processes/est-exchange.ts';
import { type GatewayProcess, startGateway } from '#test/fixtures/processes/gateway-process.ts';
import { askUntilGranted, useOnce } from '#test/fixtures/processes/persistent-device.ts';
import { signedButUnknown } from '#test/fixtures/processes/signed-and-recorded.ts';

const DEVICES = 16;
const KILLS = 3;

describe('the authority is killed while devices enroll and renew', () => {
  let gateway: GatewayProcess;
  beforeAll(async () => {
    gateway = await startGateway();
  });
  afterAll(() => gateway?.dispose());

  /** Kills it, in the middle of its work, as soon as it is there again. */
  async function killAgainAndAgain(): Promise<void> {
    for (let kill = 0; kill < KILLS; kill += 1) {
      const mark = gateway.mark();
      await gateway.killAuthority();
      await gateway.logged('authority process ready', {}, mark);
    }
  }

  test('every device that asks again with the same key gets one certificate, which works', async () => {
    const enrolling = Array.from({ length: DEVICES }, async (_, index) => {
      const id = `device-${index}`;
      const { ticket } = await gateway.addDevice(id);
      const key = makeKey();
      const csr = await makeCsr(key);
      const ask = () => postCsr(gateway, 'simpleenroll', csr, { headers: basic(id, ticket) });
      const { credential, attempts } = await askUntilGranted(gateway, key, ask);
      // A key that asks again is given what it was given before.
      const again = await askUntilGranted(gateway, key, ask);
      expect(again.credential.serial).toBe(credential.serial);
      return { id, credential, attempts };
    });
    const [enrolled] = await Promise.all([Promise.all(enrolling), killAgainAndAgain()]);
    expect(Math.max(...enrolled.map(({ attempts }) => attempts))).toBeGreaterThan(1);
    for (const { id, credential } of enrolled) {
      await useOnce(gateway, id, credential);
      const { certificates } = await gateway.device(id);
      expect(certificates.filter(({ state }) => state !== 'revoked').map(({ serial }) => serial)).toEqual([
        credential.serial,
      ]);
    }
  });

  test('a renewal that was interrupted goes on when it is asked again', async () => {
    const current = await enrollByHand(gateway, 'renewing-1');
    await useOnce(gateway, 'renewing-1', current);
    const key = makeKey();
    const csr = await makeRenewalCsr(key, current);
    const tls = { cert: current.chain, key: current.keyPem };
    await gateway.killAuthority();
    const { credential } = await askUntilGranted(gateway, key, () => postCsr(gateway, 'simplereenroll', csr, { tls }));
    await useOnce(gateway, 'renewing-1', credential);
  });

  test('nothing that was signed is unknown, the gateway was up all the time, and is well', async () => {
    expect(await signedButUnknown(gateway)).toEqual([]);
    expect(gateway.process.hasEnded).toBe(false);
    const { ok, checks } = await gateway.gatehouse<{ ok: boolean; checks: { ok: boolean }[] }>('doctor');
    expect(checks.filter((check) => !check.ok)).toEqual([]);
    expect(ok).toBe(true);
  });
});
