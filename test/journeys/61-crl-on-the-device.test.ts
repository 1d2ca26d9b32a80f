import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseCompactJws } from '#ca/pkix/compact-jws.ts';
import { parseCrl } from '#ca/revocation/parse-crl.ts';
import { MAX_FLEET_NOTICE_BYTES, parseNotice } from '#gateway/contract/notice.ts';
import { FLEET_TOPICS } from '#gateway/contract/topics.ts';
import { RawClient } from '#test/fixtures/mqtt/raw-client.ts';
import { AgentProcess } from '#test/fixtures/processes/agent-process.ts';
import { enrollByHand } from '#test/fixtures/processes/device-credential.ts';
import { eventually } from '#test/fixtures/processes/eventually.ts';
import { type GatewayProcess, startGateway } from '#test/fixtures/processes/gateway-process.ts';
import { mqttDoorOf } from '#test/fixtures/processes/mqtt-door.ts';
import { lacks } from '#test/fixtures/processes/outside-tools.ts';

const exec = promisify(execFile);

describe.skipIf(lacks('openssl'))('a service beside the agent', () => {
  let gateway: GatewayProcess;
  let press: AgentProcess;
  beforeAll(async () => {
    gateway = await startGateway({ staysReachable: true });
    press = new AgentProcess(gateway.folder, 'press-07');
    await press.enroll((await gateway.addDevice('press-07')).joinUrl);
    await press.connect(
      '--crl-delay',
      '1',
      '--hook',
      'printenv GATEHOUSE_CHANGED GATEHOUSE_CRLS >> "$GATEHOUSE_STATE/hooked"',
    );
  });
  afterAll(async () => {
    await press?.stop();
    await gateway?.dispose();
  });

  const crlFile = () => join(press.stateDir, 'crl', 'current.crl');
  const readRevoked = async () =>
    JSON.parse(await readFile(join(press.stateDir, 'crl', 'revoked.json'), 'utf8')) as {
      revoked: { serial: string }[];
    };

  /** As the service would: with nothing but what the agent keeps. */
  async function judge(pem: string): Promise<string> {
    const peer = join(gateway.folder, 'peer.pem');
    await writeFile(peer, pem);
    const [issuers, crls] = ['issuers.pem', 'all.pem'].map((name) => join(press.stateDir, 'crl', name)) as [
      string,
      string,
    ];
    const trust = join(press.stateDir, 'trust.pem');
    const args = ['verify', '-crl_check', '-CAfile', trust, '-untrusted', issuers, '-CRLfile', crls, peer];
    return exec('openssl', args).then(
      ({ stdout }) => stdout,
      (error: { stderr: string }) => error.stderr,
    );
  }

  test('checks a peer with the files of the agent alone: good before, revoked after', async () => {
    const peer = await enrollByHand(gateway, 'peer-1');
    await press.logged('CRL fetched');
    expect(await judge(peer.pem)).toContain('OK');
    const before = await press.status();
    expect(before.crl).toMatchObject({
      file: 'crl/current.crl',
      number: expect.any(Number),
      stale: false,
      error: null,
    });

    await gateway.gatehouse('revoke', 'device', 'peer-1', '--reason', 'keyCompromise');
    const heard = async () => (await readRevoked()).revoked.some(({ serial }) => serial === peer.serial);
    await eventually('the news of the revocation', heard, (isHeard) => isHeard);
    await eventually(
      'a CRL that has it',
      () => judge(peer.pem),
      (said) => said.includes('certificate revoked'),
    );
    const after = await press.status();
    expect(after.crl?.number).toBeGreaterThan(before.crl?.number ?? 0);
    await press.logged('hook ended', { changed: 'crl', exitCode: 0 });
    expect(await readFile(join(press.stateDir, 'hooked'), 'utf8')).toMatch(/^crl\n\/.*\/crl\/all\.pem\n/);
  });

  test('keeps the CRL over restarts of agent and gateway', async () => {
    const kept = await readFile(crlFile());
    await press.stop();
    await gateway.kill9();
    await gateway.restart();
    expect(await readFile(crlFile())).toEqual(kept);
    await press.connect('--crl-delay', '1');
    // The same, or already a newer one.
    const now = await readFile(crlFile());
    if (!now.equals(kept)) expect(parseCrl(now).number).toBeGreaterThan(parseCrl(kept).number);
    expect((await press.status()).crl).toMatchObject({ stale: false });
    const peer = await enrollByHand(gateway, 'peer-2');
    await gateway.gatehouse('revoke', 'device', 'peer-2', '--reason', 'keyCompromise');
    await press.logged('CRL fetched');
    await eventually(
      'a CRL that has it',
      () => judge(peer.pem),
      (said) => said.includes('certificate revoked'),
    );
  });

  test.each([[], ['--root']])(
    'checks peers of the CA before and of the one after it (rollover %s)',
    async (...kind) => {
      const name = kind.length === 0 ? 'intermediate' : 'root';
      const old = await Promise.all(['good', 'bad'].map((is) => enrollByHand(gateway, `${name}-old-${is}`)));
      for (const step of ['prepare', 'announce', 'activate'])
        await gateway.gatehouse('ca', 'rollover', step, ...(step === 'prepare' ? kind : []));
      const fresh = await Promise.all(['good', 'bad'].map((is) => enrollByHand(gateway, `${name}-new-${is}`)));
      for (const age of ['old', 'new'])
        await gateway.gatehouse('revoke', 'device', `${name}-${age}-bad`, '--reason', 'keyCompromise');
      for (const [good, bad] of [old, fresh]) {
        await eventually(
          'a CRL that has it',
          () => judge(bad?.pem ?? ''),
          (said) => said.includes('certificate revoked'),
        );
        expect(await judge(good?.pem ?? '')).toContain('OK');
      }
    },
  );

  test('a subscriber gets the whole list, retained, in a signed notice below its budget', async () => {
    const service = await enrollByHand(gateway, 'service-1');
    const client = await RawClient.connected(mqttDoorOf(gateway), service, { clientId: 'service-1' });
    await client.subscribe(FLEET_TOPICS.revocations);
    const { payload } = await client.message(FLEET_TOPICS.revocations);
    expect(payload.length).toBeLessThanOrEqual(MAX_FLEET_NOTICE_BYTES);
    const notice = parseNotice(parseCompactJws(payload.toString()).payload);
    expect(notice).toMatchObject({ deviceId: '*', kind: 'revocations', body: { full: true, since: 0 } });
    client.destroy();
  });
});
