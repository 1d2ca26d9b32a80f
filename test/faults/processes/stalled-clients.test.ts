import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { connect as connectTcp, type Socket } from 'node:net';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ClaimFile } from '#gateway/contract/claim-file.ts';
import { parseDeviceId } from '#gateway/contract/device-id.ts';
import { EST_BASE_PATH } from '#gateway/contract/est.ts';
import { enrollTopics } from '#gateway/contract/topics.ts';
import { makeKey } from '#test/fixtures/ca/keys.ts';
import { claimFor } from '#test/fixtures/processes/agent-detours.ts';
import { certificateIn, credentialOf, makeCsr } from '#test/fixtures/processes/device-credential.ts';
import { basic, postCsr } from '#test/fixtures/processes/est-exchange.ts';
import { type GatewayProcess, startGateway } from '#test/fixtures/processes/gateway-process.ts';
import { MqttEnroller, type MqttIdentity } from '#test/fixtures/processes/mqtt-enroller.ts';
import { useOnce } from '#test/fixtures/processes/persistent-device.ts';

const DEVICES = 12;
/** Alone they take some 15 ms each; who has to wait for those who stall waits for ever, since they come back. */
const GOOD_MS = 60_000;

/** Record header of a ClientHello of 512 octets, of which four come. */
const HALF_HELLO = Buffer.from('160301020001000001', 'hex');
/** Fixed header and length of a CONNECT, and the first octet of what it announces. */
const HALF_CONNECT = Buffer.from('107f00', 'hex');

/** Clients that take a place and then stop, or go on an octet at a time. */
class StalledCrowd {
  readonly #sockets = new Set<Socket>();
  #isOver = false;
  closed = 0;

  /** @param stall what it does once connected */
  hold(open: () => Socket, ready: 'connect' | 'secureConnect', stall: (socket: Socket) => void): void {
    const socket = open();
    this.#sockets.add(socket);
    socket.on('error', () => {});
    socket.once(ready, () => stall(socket));
    socket.resume();
    socket.once('close', () => {
      this.#sockets.delete(socket);
      this.closed += 1;
      // A moment later, as a program would that has nothing else to do.
      if (!this.#isOver) setTimeout(() => this.#isOver || this.hold(open, ready, stall), 100).unref();
    });
  }

  get size(): number {
    return this.#sockets.size;
  }

  end(): void {
    this.#isOver = true;
    for (const socket of this.#sockets) socket.destroy();
  }
}

/** One octet of the text at a time, for as long as the other side bears it. */
function drip(text: string): (socket: Socket) => void {
  return (socket) => {
    let at = 0;
    const timer = setInterval(() => socket.write(text.charAt(at++ % text.length)), 200);
    socket.once('close', () => clearInterval(timer));
  };
}

describe('clients that connect and stall', () => {
  let gateway: GatewayProcess;
  let crowd: StalledCrowd;
  beforeAll(async () => {
    gateway = await startGateway();
    crowd = new StalledCrowd();
  });
  afterAll(async () => {
    crowd?.end();
    await gateway?.dispose();
  });

  async function claimOf(deviceId: string): Promise<MqttIdentity> {
    await gateway.addDevice(deviceId);
    const file = JSON.parse(await readFile(await claimFor(gateway, deviceId), 'utf8')) as ClaimFile;
    return { chain: file.certificates, keyPem: file.privateKey };
  }

  /** @param size of each kind; one that is closed comes back at once */
  function crowdFrom(localAddress: string, size: number, shown: MqttIdentity): StalledCrowd {
    crowd = new StalledCrowd();
    const { est, mqtt } = gateway.ready;
    const tcp = (port: number) => () => connectTcp({ host: '127.0.0.1', port, localAddress });
    const tls = (port: number, identity: ConnectionOptions = {}) => {
      const dial = tcp(port);
      return () => connectTls({ ...identity, socket: dial(), rejectUnauthorized: false });
    };
    const claim = { cert: shown.chain, key: shown.keyPem };
    const head = `POST ${EST_BASE_PATH}/simpleenroll HTTP/1.1\r\nHost: x\r\nContent-Type: application/pkcs10\r\n`;
    for (let count = 0; count < size; count += 1) {
      for (const { port } of [est, mqtt]) {
        crowd.hold(tcp(port), 'connect', () => {});
        crowd.hold(tcp(port), 'connect', (socket) => socket.write(HALF_HELLO));
      }
      crowd.hold(tls(est.port), 'secureConnect', () => {});
      crowd.hold(tls(est.port), 'secureConnect', drip(head));
      crowd.hold(tls(est.port), 'secureConnect', (socket) => {
        socket.write(`${head}Authorization: Basic eDp5\r\nContent-Length: 4000\r\n\r\n`);
        drip('A')(socket);
      });
      // Of somebody who has a right to be there.
      crowd.hold(tls(mqtt.port, claim), 'secureConnect', () => {});
      crowd.hold(tls(mqtt.port, claim), 'secureConnect', (socket) => socket.write(HALF_CONNECT));
    }
    return crowd;
  }

  async function enrollOverEst(deviceId: string, ticket: string): Promise<number> {
    const key = makeKey();
    const csr = await makeCsr(key);
    const started = performance.now();
    const answer = await postCsr(gateway, 'simpleenroll', csr, { headers: basic(deviceId, ticket) });
    const took = performance.now() - started;
    await useOnce(gateway, deviceId, await credentialOf(gateway, certificateIn(answer), key));
    return took;
  }

  async function enrollOverMqtt(deviceId: string, shown: MqttIdentity): Promise<number> {
    const key = makeKey();
    const csr = (await makeCsr(key)).toString('base64');
    const started = performance.now();
    const topics = enrollTopics(parseDeviceId(deviceId));
    const session = await MqttEnroller.connect(gateway, shown, { clientId: deviceId, topics });
    const answer = await session.ask({ requestId: `a-${randomBytes(8).toString('hex')}`, csr });
    const took = performance.now() - started;
    expect(answer, deviceId).toMatchObject({ status: 200 });
    session.end();
    await useOnce(gateway, deviceId, await credentialOf(gateway, Buffer.from(answer.certificate ?? '', 'base64'), key));
    return took;
  }

  test.each([
    ['another address', '127.0.0.2', 40, 'far'],
    // Fewer: past 32 failures a second the MQTT door slows an address, and with it whoever else is behind that.
    ['their own address', '127.0.0.1', 12, 'near'],
  ])('at %s keep no device from enrolling, at either door', async (_where, address, size, name) => {
    const names = Array.from({ length: DEVICES }, (_, index) => `${name}-${index}`);
    const registered = await Promise.all(names.map((each) => gateway.addDevice(`est-${each}`)));
    const claims: [string, MqttIdentity][] = [];
    for (const each of names) claims.push([`mqtt-${each}`, await claimOf(`mqtt-${each}`)]);
    const crowd = crowdFrom(address, size, await claimOf(`stalled-${name}`));
    // They have taken what they can get, and the first of them have been sent away.
    await expect.poll(() => crowd.closed, { interval: 50 }).toBeGreaterThan(size);

    const took: number[] = [];
    for (const { deviceId, ticket } of registered) took.push(await enrollOverEst(deviceId, ticket));
    for (const [deviceId, shown] of claims) took.push(await enrollOverMqtt(deviceId, shown));
    expect(Math.max(...took)).toBeLessThan(GOOD_MS);
    expect(crowd.size).toBeGreaterThan(size);
    for (const deviceId of [...registered.map((one) => one.deviceId), ...claims.map(([id]) => id)])
      expect(await gateway.device(deviceId)).toMatchObject({ state: 'enrolled' });
    crowd.end();
  });

  test('and leave nothing behind: everybody has his place again', async () => {
    const { ticket } = await gateway.addDevice('after-1');
    expect(await enrollOverEst('after-1', ticket)).toBeLessThan(GOOD_MS);
  });
});
