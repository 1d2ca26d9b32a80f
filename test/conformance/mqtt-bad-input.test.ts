import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { connect as connectTcp, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Credential, createAuthority, selfSigned } from '#test/fixtures/mqtt/authority.ts';
import { RawClient } from '#test/fixtures/mqtt/raw-client.ts';
import { enrollByHand } from '#test/fixtures/processes/device-credential.ts';
import { type GatewayProcess, startGateway } from '#test/fixtures/processes/gateway-process.ts';
import { mqttDoorOf } from '#test/fixtures/processes/mqtt-door.ts';
import { residentBytes } from '#test/fixtures/processes/resident-bytes.ts';

const MIB = 2 ** 20;
/** Remaining length of 200 MiB, as MQTT 3.1.1 2.2.3 writes it. */
const ANNOUNCED_200_MIB = Buffer.from([0x80, 0x80, 0x80, 0x64]);

describe('bad input at the MQTT door', () => {
  let gateway: GatewayProcess;
  let door: ReturnType<typeof mqttDoorOf>;
  let press: Credential;
  /** Stays connected through all of it. */
  let bystander: RawClient;
  let memoryBefore: number;
  /** Opened before everything else, since they are waited out. */
  let halfOpen: Socket;
  let mute: Socket;
  let silent: RawClient;
  beforeAll(async () => {
    gateway = await startGateway();
    door = mqttDoorOf(gateway);
    press = await enrollByHand(gateway, 'press-1');
    bystander = await RawClient.connected(door, await enrollByHand(gateway, 'bystander-1'), {
      clientId: 'bystander-1',
    });
    memoryBefore = residentBytes(gateway.ready.pid);
    mute = await tcp();
    halfOpen = await tcp();
    // The first bytes of a ClientHello, and never the rest.
    halfOpen.write(Buffer.from('16030100c8010000c40303', 'hex'));
    silent = await RawClient.open(door, await enrollByHand(gateway, 'silent-1'));
  });
  afterAll(async () => {
    for (const socket of [halfOpen, mute]) socket?.destroy();
    for (const client of [silent, bystander]) client?.destroy();
    await gateway?.dispose();
  });

  async function tcp(): Promise<Socket> {
    const socket = connectTcp(gateway.ready.mqtt.port, '127.0.0.1');
    socket.on('error', () => {});
    await once(socket, 'connect');
    return socket;
  }

  test.each([
    ['plain MQTT', Buffer.from('\x10\x13\x00\x04MQTT\x04\x02\x00\x3c\x00\x07press-1', 'latin1')],
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n')],
    ['zeros', Buffer.alloc(4096)],
    ['random bytes', randomBytes(64 * 1024)],
    ['SSH', Buffer.from('SSH-2.0-OpenSSH_9.2\r\n')],
  ])('%s on the TLS port: closed, with no word of MQTT, and logged', async (_, bytes) => {
    const mark = gateway.mark();
    const socket = await tcp();
    socket.write(bytes);
    const said = await untilClosed(socket);
    // At most a TLS alert.
    expect(said.length === 0 || said[0] === 0x15).toBe(true);
    // Those that are waited out are refused for other reasons, at any time.
    const reason = /^TLS_(NOT_TLS|FAILED|NO_COMMON_VERSION|CLIENT_WENT_AWAY)$/;
    await gateway.process.until('its refusal', () =>
      gateway.process.log
        .slice(mark)
        .find(({ message, fields }) => message === 'session refused' && reason.test(String(fields['code']))),
    );
  });

  test('no certificate: refused, and told so by TLS', async () => {
    const mark = gateway.mark();
    const client = await RawClient.open(door, undefined);
    await client.closed;
    await gateway.logged('session refused', { code: 'TLS_NO_CERTIFICATE' }, mark);
  });

  test.each(['TLSv1.2', 'TLSv1.3'] as const)('a foreign certificate over %s: refused, no CONNACK', async (version) => {
    const foreign = await (await createAuthority('Elsewhere')).issue('press-1', { serial: press.serial });
    const mark = gateway.mark();
    const client = await RawClient.open(door, foreign, { minVersion: version, maxVersion: version });
    expect(await client.connect({ clientId: 'press-1' })).toBe('closed');
    await gateway.logged('session refused', { code: 'TLS_FOREIGN_CERTIFICATE' }, mark);
  });

  test('a self-signed certificate that bears the serial of a real one: refused', async () => {
    const mark = gateway.mark();
    const client = await RawClient.open(door, await selfSigned('press-1', press.serial));
    expect(await client.connect({ clientId: 'press-1' })).toBe('closed');
    await gateway.logged('session refused', { code: 'TLS_FOREIGN_CERTIFICATE' }, mark);
  });

  test("the gateway's own certificates: refused, they are not for clients", async () => {
    for (const name of ['server', 'notice-signer']) {
      const chain = await readFile(`${gateway.dataDir}/gateway/${name}.pem`, 'utf8');
      const keyPem = await readFile(`${gateway.dataDir}/gateway/${name}.key.pem`, 'utf8');
      const mark = gateway.mark();
      const client = await RawClient.open(door, { ...press, chain, keyPem });
      expect(await client.connect({ clientId: 'press-1' })).toBe('closed');
      await gateway.logged('session refused', { code: 'TLS_CERTIFICATE_WRONG_PURPOSE' }, mark);
    }
  });

  test('a protocol other than mqtt, by ALPN: refused', async () => {
    const mark = gateway.mark();
    const client = await RawClient.open(door, press, { ALPNProtocols: ['http/1.1'] });
    await client.closed;
    await gateway.logged('session refused', { code: 'TLS_WRONG_PROTOCOL' }, mark);
  });

  test('a first packet that announces 200 MB: cut at once, not buffered', async () => {
    const mark = gateway.mark();
    const client = await RawClient.open(door, press);
    client.socket.write(Buffer.concat([Buffer.from([0x10]), ANNOUNCED_200_MIB, Buffer.alloc(MIB)]));
    await client.closed;
    expect(client.packets).toEqual([]);
    await gateway.logged('session refused', { code: 'PACKET_TOO_LARGE' }, mark);
  });

  test('a PUBLISH that announces 200 MB: cut at once, not buffered', async () => {
    const mark = gateway.mark();
    const client = await RawClient.connected(door, press, { clientId: 'press-1' });
    client.socket.write(Buffer.concat([Buffer.from([0x32]), ANNOUNCED_200_MIB]));
    const pump = setInterval(() => client.socket.write(Buffer.alloc(MIB)), 5);
    await client.closed;
    clearInterval(pump);
    await gateway.logged('session closed', { deviceId: 'press-1', reason: 'packet-too-large' }, mark);
    expect(residentBytes(gateway.ready.pid) - memoryBefore).toBeLessThan(96 * MIB);
  });

  test('a packet of just the allowed size is taken, one more is not', async () => {
    const topic = 'v1/d/press-1/out/data/large';
    // Remaining length: topic with its length, packet id, payload.
    const room = 64 * 1024 - 2 - topic.length - 2;
    const client = await RawClient.connected(door, press, { clientId: 'press-1' });
    expect(await client.publish(topic, 'x'.repeat(room))).toBe('acked');
    expect(await client.publish(topic, 'x'.repeat(room + 1))).toBe('closed');
  });

  test.each([
    ['an endless remaining length', Buffer.from([0x10, 0xff, 0xff, 0xff, 0xff, 0xff])],
    ['a reserved packet type', Buffer.from([0x00, 0x00])],
    ['PUBLISH before CONNECT', Buffer.from('300500017a6869', 'hex')],
    ['CONNECT with a lying name length', Buffer.from('100cffff4d5154540402003c0000', 'hex')],
    ['random bytes', Buffer.concat([Buffer.from([0xf7]), randomBytes(512)])],
  ])('%s inside TLS: closed without CONNACK 0', async (_, bytes) => {
    const client = await RawClient.open(door, press);
    client.socket.write(bytes);
    await client.closed;
    expect(client.packets.filter((packet) => packet.cmd === 'connack' && packet.returnCode === 0)).toEqual([]);
  });

  test('SUBSCRIBE and PUBLISH that break their own form end the session', async () => {
    for (const bytes of [
      // SUBSCRIBE with reserved flags 0 (MQTT 3.1.1 3.8.1), without a filter, with QoS 3; PUBLISH with QoS 3.
      Buffer.from('80080001000376312f6101', 'hex'),
      Buffer.from('82020001', 'hex'),
      Buffer.from('82080001000376312f03', 'hex'),
      Buffer.from('36070001610001', 'hex'),
    ]) {
      const client = await RawClient.connected(door, press, { clientId: 'press-1' });
      client.socket.write(bytes);
      client.send({ cmd: 'pingreq' });
      client.socket.end();
      await client.closed;
    }
  });

  test('half a handshake, left open: closed by the gateway', async () => {
    await untilClosed(halfOpen);
    await untilClosed(mute);
    await gateway.logged('session refused', { code: 'TLS_HANDSHAKE_TIMEOUT' });
  });

  test('TLS without a CONNECT, left open: closed by the gateway', async () => {
    await silent.closed;
    await gateway.logged('session refused', { code: 'CONNECT_TIMEOUT' });
  });

  test('after all of it the same process serves, in bounded memory, and who was connected still is', async () => {
    expect(await bystander.ping()).toBe('acked');
    expect(gateway.process.find('session closed', { deviceId: 'bystander-1' })).toBeUndefined();
    const late = await RawClient.connected(door, await enrollByHand(gateway, 'late-1'), { clientId: 'late-1' });
    expect(await late.publish('v1/d/late-1/out/data/x', '1')).toBe('acked');
    await late.end();
    expect(gateway.process.hasEnded).toBe(false);
    expect(residentBytes(gateway.ready.pid) - memoryBefore).toBeLessThan(96 * MIB);
    expect(gateway.process.log.filter(({ fields }) => fields['level'] === 'error')).toEqual([]);
  });
});

/** Resolves with all that the gateway said before it closed. */
function untilClosed(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  return new Promise((resolve) => {
    if (socket.closed) resolve(Buffer.concat(chunks));
    else socket.once('close', () => resolve(Buffer.concat(chunks)));
  });
}
