import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Credential, createAuthority } from '#test/fixtures/mqtt/authority.ts';
import { enrollByHand } from '#test/fixtures/processes/device-credential.ts';
import { type GatewayProcess, startGateway } from '#test/fixtures/processes/gateway-process.ts';
import { lacks } from '#test/fixtures/processes/outside-tools.ts';
import { run } from '#test/fixtures/processes/program.ts';

/** Exit code of mosquitto_pub and mosquitto_sub for CONNACK 5. */
const NOT_AUTHORISED = 5;

describe.skipIf(lacks('mosquitto_pub', 'mosquitto_sub'))('mosquitto_pub and mosquitto_sub', () => {
  let gateway: GatewayProcess;
  let press: Credential;
  let reader: Credential;
  /** Ends by itself while the other tests run. */
  let brief: Credential;
  let briefSession: ChildProcess;
  beforeAll(async () => {
    gateway = await startGateway();
    await gateway.addGroup('presses', {});
    await gateway.addGroup('readers', { readFrom: ['presses'] });
    await gateway.addGroup('brief', { lifetimeSeconds: 20, overlapSeconds: 1 });
    brief = await enrollByHand(gateway, 'brief-1', { group: 'brief' });
    briefSession = spawn('mosquitto_sub', [...(await connection(brief)), '-i', 'brief-1', '-t', 'v1/d/brief-1/in/#']);
    await gateway.logged('session opened', { deviceId: 'brief-1' });
    press = await enrollByHand(gateway, 'press-1', { group: 'presses' });
    reader = await enrollByHand(gateway, 'reader-1', { group: 'readers' });
  });
  afterAll(async () => {
    briefSession?.kill();
    await gateway?.dispose();
  });

  let files = 0;
  /** What a person would type to connect with this certificate. */
  async function connection(credential?: Credential): Promise<string[]> {
    const { host, port } = gateway.ready.mqtt;
    const bare = ['-h', host, '-p', String(port), '--cafile', gateway.ready.rootPem, '-k', '60'];
    if (credential === undefined) return bare;
    files += 1;
    const folder = join(gateway.folder, 'mosquitto', String(files));
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, 'certificate.pem'), credential.chain);
    await writeFile(join(folder, 'key.pem'), credential.keyPem, { mode: 0o600 });
    return [...bare, '--cert', join(folder, 'certificate.pem'), '--key', join(folder, 'key.pem')];
  }

  async function publish(credential: Credential | undefined, clientId: string, topic: string, ...more: string[]) {
    const message = ['-i', clientId, '-q', '1', '-t', topic, '-m', '21.5'];
    return run('mosquitto_pub', [...(await connection(credential)), ...message, ...more]);
  }

  test('publish telemetry, and read that of others where the group may', async () => {
    const mark = gateway.mark();
    const filters = ['-t', 'v1/d/+/out/data/#', '-t', 'v1/fleet/revocations'];
    const listening = run('mosquitto_sub', [
      ...(await connection(reader)),
      '-i',
      'reader-1',
      '-q',
      '1',
      ...filters,
      '-v',
      '-C',
      '2',
      '-W',
      '90',
    ]);
    await gateway.logged('session opened', { deviceId: 'reader-1' }, mark);
    // SUBACK cannot be seen from here: the retained fleet notice is what the reader gets first, then one of these.
    const again = new AbortController();
    const publishing = (async () => {
      while (!again.signal.aborted) {
        expect(await publish(press, 'press-1', 'v1/d/press-1/out/data/temperature')).toMatchObject({ code: 0 });
        await delay(50);
      }
    })();
    const { code, stdout } = await listening;
    again.abort();
    await publishing;
    expect(code).toBe(0);
    expect(stdout).toContain('v1/d/press-1/out/data/temperature 21.5');
    expect(stdout).toMatch(/^v1\/fleet\/revocations ey/m);
    await gateway.deviceSoon('press-1', 'it to be enrolled by its first session', ({ state }) => state === 'enrolled');
  });

  test('without a certificate are refused, and the log says so', async () => {
    const mark = gateway.mark();
    expect((await publish(undefined, 'press-1', 'v1/d/press-1/out/data/x')).code).not.toBe(0);
    await gateway.logged('session refused', { code: 'TLS_NO_CERTIFICATE' }, mark);
  });

  test('with a certificate of somebody else are refused, and the log says so', async () => {
    const foreign = await (await createAuthority('Elsewhere')).issue('press-1', { serial: press.serial });
    const mark = gateway.mark();
    expect((await publish(foreign, 'press-1', 'v1/d/press-1/out/data/x')).code).not.toBe(0);
    await gateway.logged('session refused', { code: 'TLS_FOREIGN_CERTIFICATE' }, mark);
  });

  test("with another device's client id are told that they are not authorised", async () => {
    const mark = gateway.mark();
    const { code, stderr } = await publish(press, 'reader-1', 'v1/d/press-1/out/data/x');
    expect(code).toBe(NOT_AUTHORISED);
    expect(stderr).toMatch(/not authorised/i);
    await gateway.logged('session refused', { code: 'CLIENT_ID_MISMATCH', deviceId: 'press-1' }, mark);
  });

  test("on another device's topic are cut, and nothing arrives there", async () => {
    const mark = gateway.mark();
    // By itself it would connect again and say the same.
    const enough = new AbortController();
    const refused = run(
      'mosquitto_pub',
      [...(await connection(press)), '-i', 'press-1', '-q', '1', '-t', 'v1/d/reader-1/out/data/x', '-m', 'forged'],
      { signal: enough.signal },
    );
    await gateway.logged('publish refused', { deviceId: 'press-1', topic: 'v1/d/reader-1/out/data/x' }, mark);
    await gateway.logged('session closed', { deviceId: 'press-1', reason: 'publish-refused' }, mark);
    enough.abort();
    expect((await refused).code).not.toBe(0);
  });

  test('are told that filters they may not have are denied', async () => {
    const mark = gateway.mark();
    const filters = ['v1/d/reader-1/in/#', '#', '$SYS/#'].flatMap((filter) => ['-t', filter]);
    const { stderr } = await run('mosquitto_sub', [
      ...(await connection(press)),
      '-i',
      'press-1',
      ...filters,
      '-W',
      '90',
    ]);
    expect(stderr).toMatch(/denied/i);
    for (const filter of ['v1/d/reader-1/in/#', '#', '$SYS/#']) {
      await gateway.logged('subscribe refused', { deviceId: 'press-1', filter }, mark);
    }
  });

  test('with MQTT 5 are told to use another version', async () => {
    const mark = gateway.mark();
    const { code, stderr } = await publish(press, 'press-1', 'v1/d/press-1/out/data/x', '-V', 'mqttv5');
    expect(code).not.toBe(0);
    expect(stderr).toMatch(/version/i);
    await gateway.logged('session refused', { code: 'MQTT_VERSION_NOT_SUPPORTED' }, mark);
  });

  test('with a revoked certificate are told that they are not authorised', async () => {
    const credential = await enrollByHand(gateway, 'press-2', { group: 'presses' });
    expect(await publish(credential, 'press-2', 'v1/d/press-2/out/data/x')).toMatchObject({ code: 0 });
    await gateway.operator.call('revokeDevice', { params: ['press-2'], body: { reason: 'privilegeWithdrawn' } });
    const mark = gateway.mark();
    expect((await publish(credential, 'press-2', 'v1/d/press-2/out/data/x')).code).toBe(NOT_AUTHORISED);
    await gateway.logged('session refused', { code: 'CERTIFICATE_REVOKED', deviceId: 'press-2' }, mark);
  });

  test('lose their session when the certificate ends, and get no other', async () => {
    const ended = { deviceId: 'brief-1', reason: 'certificate-expired' };
    await gateway.logged('session closed', ended);
    const { lastSession } = await gateway.deviceSoon('brief-1', 'its end on record', ({ session }) => session === null);
    expect(lastSession?.endedAt).toBeGreaterThanOrEqual(brief.notAfter);
    // When the certificate ends, and not, say, at the next sign of life that the client owes after a minute.
    expect(lastSession?.endedAt).toBeLessThan(brief.notAfter + 30_000);
    const mark = gateway.mark();
    expect((await publish(brief, 'brief-1', 'v1/d/brief-1/out/data/x')).code).toBe(NOT_AUTHORISED);
    // Not by TLS: in a group that grants grace it could still ask for the next one.
    await gateway.logged('session refused', { code: 'CERTIFICATE_EXPIRED', deviceId: 'brief-1' }, mark);
  });

  test('leave the gateway as it was', async () => {
    expect(await publish(press, 'press-1', 'v1/d/press-1/out/data/x')).toMatchObject({ code: 0 });
    expect(gateway.process.log.filter(({ fields }) => fields['level'] === 'error')).toEqual([]);
  });
});
