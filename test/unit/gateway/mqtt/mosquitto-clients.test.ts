import { type ChildProcess, execFile, spawn } from 'node:child_process';
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

describe.skipIf(!installed)(`mosquitto_pub and mosquitto_sub${reason}`, () => {
  let door: TestDoor;
  let folder: string;
  let press: string[];
  let reader: string[];

  beforeAll(async () => {
    door = await TestDoor.open();
    folder = await mkdtemp(join(tmpdir(), 'gatehouse-mosquitto-'));
    await writeFile(join(folder, 'root.pem'), door.authority.root.pem);
    press = await options('press-1', (await door.device('press-1', { group: 'presses' })).credential);
    reader = await options('reader', (await door.device('reader', { readFrom: ['presses'] })).credential);
  });
  afterAll(async () => {
    await door.close();
    await rm(folder, { recursive: true });
  });

  async function options(name: string, credential: Credential): Promise<string[]> {
    await writeFile(join(folder, `${name}.pem`), credential.chain);
    await writeFile(join(folder, `${name}.key`), credential.keyPem, { mode: 0o600 });
    const file = (suffix: string) => join(folder, `${name}.${suffix}`);
    return [
      ...['-h', '127.0.0.1', '-p', `${door.port}`, '--cafile', join(folder, 'root.pem')],
      ...['--cert', file('pem'), '--key', file('key'), '-k', '30'],
    ];
  }

  function publish(args: string[]): Promise<{ code: number; stderr: string }> {
    return new Promise((resolve) => {
      execFile(PUB, args, (error, _stdout, stderr) => resolve({ code: Number(error?.code ?? 0), stderr }));
    });
  }

  async function subscribe(args: string[]): Promise<ChildProcess> {
    const opened = door.opened.length;
    const child = spawn(SUB, ['-d', ...args]);
    await door.until(() => door.opened.length > opened);
    // -d prints this line when SUBACK is there.
    for await (const chunk of child.stdout) if (String(chunk).includes('Subscribed')) break;
    return child;
  }

  async function output(args: string[], publication: () => Promise<unknown>): Promise<string> {
    const child = spawn(SUB, ['-d', ...args]);
    let text = '';
    let published: Promise<unknown> | undefined;
    child.stdout.on('data', (chunk) => {
      text += String(chunk);
      if (text.includes('Subscribed')) published ??= publication();
    });
    await once(child, 'close');
    await published;
    return text;
  }

  test('publish and are read by an identity that may read it', async () => {
    const text = await output([...reader, '-i', 'reader', '-q', '1', '-t', 'v1/d/+/out/data/#', '-C', '1'], () =>
      publish([...press, '-i', 'press-1', '-q', '1', '-t', 'v1/d/press-1/out/data/temperature', '-m', '21.5']),
    );
    expect(text.split('\n')).toContain('21.5');
  });

  test('need no client id', async () => {
    const { code } = await publish([...press, '-q', '1', '-t', 'v1/d/press-1/out/data/x', '-m', '1']);
    expect(code).toBe(0);
  });

  test('are told that they are not authorised with another client id', async () => {
    const { code, stderr } = await publish([
      ...press,
      '-i',
      'press-2',
      '-q',
      '1',
      '-t',
      'v1/d/press-1/out/data/x',
      '-m',
      '1',
    ]);
    expect(code).toBe(5);
    expect(stderr).toContain('not authorised');
    expect(door.refused.at(-1)).toMatchObject({ code: 'CLIENT_ID_MISMATCH' });
  });

  test('get all filters denied that are not theirs', async () => {
    const child = spawn(SUB, [...press, '-i', 'press-1', '-t', 'v1/d/reader/in/#']);
    let text = '';
    child.stderr.on('data', (chunk) => {
      text += String(chunk);
    });
    await once(child, 'close');
    expect(text).toContain('denied');
  });

  test('are cut when they publish for another device', async () => {
    const closed = door.closed.length;
    await publish([...press, '-i', 'press-1', '-q', '1', '-t', 'v1/d/reader/out/data/x', '-m', '1', '-W', '1']).catch(
      () => {},
    );
    expect(door.closed.slice(closed)).toContainEqual(expect.objectContaining({ reason: 'publish-refused' }));
  });

  test('without a certificate are refused', async () => {
    const bare = ['-h', '127.0.0.1', '-p', `${door.port}`, '--cafile', join(folder, 'root.pem'), '-k', '30'];
    const { code } = await publish([...bare, '-i', 'press-1', '-t', 'v1/d/press-1/out/data/x', '-m', '1']);
    expect(code).not.toBe(0);
    await door.until(() => door.refused.some((refusal) => refusal.code === 'TLS_NO_CERTIFICATE'));
  });

  test('with MQTT 5 are told to use another version', async () => {
    const { code } = await publish([
      ...press,
      '-V',
      'mqttv5',
      '-i',
      'press-1',
      '-t',
      'v1/d/press-1/out/data/x',
      '-m',
      '1',
    ]);
    expect(code).not.toBe(0);
    expect(door.refused.at(-1)).toMatchObject({ code: 'MQTT_VERSION_NOT_SUPPORTED' });
  });

  test('lose their session when it is closed', async () => {
    const child = await subscribe([...press, '-i', 'press-1', '-t', 'v1/d/press-1/in/#']);
    expect(await door.door.broker.close(door.door.broker.sessions(), 'revoked')).toBe(1);
    const exited = once(child, 'close');
    child.kill();
    await exited;
  });
});
