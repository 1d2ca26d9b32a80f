import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Credential } from '#test/fixtures/mqtt/authority.ts';
import { TestDoor } from '#test/fixtures/mqtt/test-door.ts';

const PUB = '/usr/bin/mosquitto_pub';
const SUB = '/usr/bin/mosquitto_sub';
const installed = existsSync(PUB) && existsSync(SUB);
const reason = installed ? '' : ' (skipped: the Debian package mosquitto-clients is not installed)';

/** Runs to its end. */
function run(command: string, args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(command, args, (error, stdout, stderr) => {
      resolve({ code: Number(error?.code ?? 0), stdout, stderr });
    });
  });
}

describe.skipIf(!installed)(`mosquitto_pub and mosquitto_sub${reason}`, () => {
  let door: TestDoor;
  let folder: string;
  let bare: string[];
  let press: string[];
  let reader: string[];

  beforeAll(async () => {
    door = await TestDoor.open();
    folder = await mkdtemp(join(tmpdir(), 'gatehouse-mosquitto-'));
    await writeFile(join(folder, 'root.pem'), door.authority.root.pem);
    bare = ['-h', '127.0.0.1', '-p', `${door.port}`, '--cafile', join(folder, 'root.pem'), '-k', '30'];
    press = await options('press-1', (await door.device('press-1', { group: 'presses' })).credential);
    reader = await options('reader', (await door.device('reader', { readFrom: ['presses'] })).credential);
  });
  afterAll(async () => {
    await door.close();
    await rm(folder, { recursive: true });
  });

  async function options(name: string, credential: Credential): Promise<string[]> {
    const certificate = join(folder, `${name}.pem`);
    const key = join(folder, `${name}.key`);
    await writeFile(certificate, credential.chain);
    await writeFile(key, credential.keyPem, { mode: 0o600 });
    return [...bare, '--cert', certificate, '--key', key];
  }

  test('publish, and are read by an identity that may read it', async () => {
    // Its own topics too, so that the door says when the SUBSCRIBE is through.
    const filters = ['-t', 'v1/d/+/out/data/#', '-t', 'v1/d/reader/in/#'];
    const subscriber = run(SUB, [...reader, '-i', 'reader', '-q', '1', ...filters, '-C', '1', '-W', '90']);
    await door.until(() => door.subscribed.includes('reader'));
    const message = ['-q', '1', '-t', 'v1/d/press-1/out/data/temperature', '-m', '21.5'];
    expect(await run(PUB, [...press, '-i', 'press-1', ...message])).toMatchObject({ code: 0 });
    expect(await subscriber).toMatchObject({ code: 0, stdout: '21.5\n' });
  });

  test('receive a notice', async () => {
    const filters = ['-t', 'v1/d/press-1/in/notice'];
    const seen = door.subscribed.length;
    const subscriber = run(SUB, [...press, '-i', 'press-1', '-q', '1', ...filters, '-C', '1', '-W', '90']);
    await door.until(() => door.subscribed.length > seen);
    const [session] = door.door.broker.sessions();
    if (session === undefined) throw new Error('no session');
    expect(door.door.broker.sendNotice(session.deviceId, 'a notice')).toBe(true);
    expect(await subscriber).toMatchObject({ code: 0, stdout: 'a notice\n' });
  });

  test('need no client id', async () => {
    const { code } = await run(PUB, [...press, '-q', '1', '-t', 'v1/d/press-1/out/data/x', '-m', '1']);
    expect(code).toBe(0);
  });

  test('are told that they are not authorised with another client id', async () => {
    const message = ['-q', '1', '-t', 'v1/d/press-1/out/data/x', '-m', '1'];
    const { code, stderr } = await run(PUB, [...press, '-i', 'press-2', ...message]);
    expect(code).toBe(5);
    expect(stderr).toContain('not authorised');
    expect(door.refused.at(-1)).toMatchObject({ code: 'CLIENT_ID_MISMATCH' });
  });

  test('are told that all their filters are denied when none is theirs', async () => {
    const { stderr } = await run(SUB, [...press, '-i', 'press-1', '-t', 'v1/d/reader/in/#', '-W', '90']);
    expect(stderr).toContain('denied');
  });

  test('are cut when they publish for another device', async () => {
    const child = spawn(PUB, [...press, '-i', 'press-1', '-q', '1', '-t', 'v1/d/reader/out/data/x', '-m', '1']);
    await door.until(() => door.closed.some(({ reason }) => reason === 'publish-refused'));
    // SIGTERM only asks it to say DISCONNECT, which it cannot while it waits to reconnect.
    child.kill('SIGKILL');
    await once(child, 'close');
  });

  test('without a certificate are refused', async () => {
    const { code } = await run(PUB, [...bare, '-i', 'press-1', '-t', 'v1/d/press-1/out/data/x', '-m', '1']);
    expect(code).not.toBe(0);
    await door.until(() => door.refused.some((refusal) => refusal.code === 'TLS_NO_CERTIFICATE'));
  });

  test('with MQTT 5 are told to use another version', async () => {
    const message = ['-t', 'v1/d/press-1/out/data/x', '-m', '1'];
    const { code } = await run(PUB, [...press, '-V', 'mqttv5', '-i', 'press-1', ...message]);
    expect(code).not.toBe(0);
    expect(door.refused.at(-1)).toMatchObject({ code: 'MQTT_VERSION_NOT_SUPPORTED' });
  });

  test('lose their session when it is closed', async () => {
    const seen = door.subscribed.length;
    const child = spawn(SUB, [...press, '-i', 'press-1', '-t', 'v1/d/press-1/in/#']);
    await door.until(() => door.subscribed.length > seen);
    expect(await door.door.broker.close(door.door.broker.sessions(), 'revoked')).toBe(1);
    expect(door.closed.at(-1)).toMatchObject({ deviceId: 'press-1', reason: 'revoked' });
    // SIGTERM only asks it to say DISCONNECT, which it cannot while it waits to reconnect.
    child.kill('SIGKILL');
    await once(child, 'close');
  });
});
