import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import type { ConnectionOptions } from 'node:tls';
import * as fc from 'fast-check';
import mqttPacket from 'mqtt-packet';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { NONCE_PATH, TPM_CHALLENGE_PATH } from '#gateway/contract/attestation.ts';
import { formatEstBody } from '#gateway/contract/est.ts';
import { STATUS_PATHS } from '#gateway/contract/status-paths.ts';
import { collectGarbage } from '#scripts/bench/collect-garbage.ts';
import { makeKey } from '#test/fixtures/ca/keys.ts';
import type { Credential } from '#test/fixtures/mqtt/authority.ts';
import { RawClient } from '#test/fixtures/mqtt/raw-client.ts';
import { enrollByHand, makeCsr } from '#test/fixtures/processes/device-credential.ts';
import { basic } from '#test/fixtures/processes/est-exchange.ts';
import { eventually } from '#test/fixtures/processes/eventually.ts';
import { type GatewayProcess, startGateway } from '#test/fixtures/processes/gateway-process.ts';
import { mqttDoorOf } from '#test/fixtures/processes/mqtt-door.ts';
import { residentBytes } from '#test/fixtures/processes/resident-bytes.ts';
import { get, isWholeAnswer, post } from './est-messages.ts';
import { FUZZ_FACTOR } from './fuzz-runs.ts';
import {
  inLanes,
  recordClientHello,
  type Spoiling,
  sayAndVanish,
  sayInTls,
  sayPlainly,
  shakeHandsBadly,
} from './hostile-client.ts';
import { packetsOf, REPORTS } from './mqtt-messages.ts';
import { mutatedBytes, randomOctets } from './mutate-bytes.ts';
import { mutatedDer } from './mutate-der.ts';
import { formatHttp, mutatedHttp } from './mutate-http.ts';
import { mutatedJson } from './mutate-json.ts';

/** The same inputs every time; another number, other inputs. */
const SEED = Number(process.env['GATEHOUSE_FUZZ_SEED'] ?? 20_261_122);
const LANES = 12;
const MIB = 2 ** 20;
/** What a warm gateway may have gained in reachable objects when all is over: caches of limits, not connections. */
const MAX_HEAP_GROWTH = 16 * MIB;
/** In resident memory: what the allocator holds back between waves too. */
const MAX_RESIDENT_GROWTH = 192 * MIB;
/** A CSR of one ticket fails so often before its device is slowed down (429): below that the CSR itself is judged. */
const CSRS_PER_TICKET = 20;

function some<T>(inputs: fc.Arbitrary<T>, count: number): T[] {
  return fc.sample(inputs, { seed: SEED, numRuns: Math.ceil(count * FUZZ_FACTOR) });
}

const spoilings: fc.Arbitrary<Spoiling> = fc.record({
  at: fc.oneof(fc.nat(40), fc.nat(700), fc.nat(3000)),
  how: fc.constantFrom('cut', 'flip', 'double', 'stop'),
});

describe('both doors under a stream of nonsense', () => {
  let gateway: GatewayProcess;
  let root: ConnectionOptions;
  /** Own identities, so that sessions do not take each other over; the one of each lane fails and succeeds in turn. */
  let identities: { deviceId: string; credential: Credential }[];
  let bystander: RawClient;
  let before: { resident: number; heap: number; sockets: number };
  const statuses = new Map<number, number>();

  beforeAll(async () => {
    // A free port for the inspector, which has garbage collected before memory is measured.
    gateway = await startGateway({ env: { NODE_OPTIONS: '--inspect-port=0' } });
    root = { ca: readFileSync(gateway.ready.rootPem) };
    identities = [];
    for (let lane = 0; lane < LANES; lane += 1) {
      const deviceId = `fuzz-${lane}`;
      identities.push({ deviceId, credential: await enrollByHand(gateway, deviceId) });
    }
    bystander = await RawClient.connected(mqttDoorOf(gateway), await enrollByHand(gateway, 'bystander'), {
      clientId: 'bystander',
    });
    // Warm: code compiled, buffers allocated, before anything is measured.
    await inLanes(some(mutatedHttp([get('cacerts'), get('csrattrs')]), 60), LANES, pesterEst);
    before = { heap: await heapBytes(), resident: residentBytes(gateway.ready.pid), sockets: openSockets() };
  });
  afterAll(async () => {
    bystander?.destroy();
    await gateway?.dispose();
  });

  function openSockets(): number {
    const folder = `/proc/${gateway.ready.pid}/fd`;
    return readdirSync(folder).filter((name) => {
      try {
        return readlinkSync(`${folder}/${name}`).startsWith('socket:');
      } catch {
        return false;
      }
    }).length;
  }

  /** Used heap and buffers outside of it, of what can still be reached. */
  async function heapBytes(): Promise<number> {
    await collectGarbage(gateway.ready.pid, () => gateway.process.log.map(({ text }) => text));
    const metrics = await (await fetch(`${gateway.ready.status.url}${STATUS_PATHS.metrics}`)).text();
    return ['nodejs_heap_size_used_bytes', 'nodejs_external_memory_bytes']
      .map((name) => Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(metrics)?.[1]))
      .reduce((sum, bytes) => sum + bytes, 0);
  }

  function clientTls(credential: Credential): ConnectionOptions {
    return { ...root, cert: credential.chain, key: credential.keyPem };
  }

  /** Counts every status line that came back. @param isOwed an answer must come */
  async function askEst(octets: Buffer, tls: ConnectionOptions = {}, isOwed = false): Promise<string> {
    const listening = { isEnough: isWholeAnswer, isOwed };
    const heard = await sayInTls(gateway.ready.est.port, [octets], { ...root, ...tls }, listening);
    const text = heard.toString('latin1');
    for (const [, status] of text.matchAll(/HTTP\/1\.1 (\d{3}) /g)) {
      statuses.set(Number(status), (statuses.get(Number(status)) ?? 0) + 1);
    }
    return text;
  }

  async function pesterEst(octets: Buffer): Promise<void> {
    await askEst(octets);
  }

  test('octets that are no TLS, at both doors', async () => {
    const hello = await recordClientHello(root);
    const inputs = some(fc.oneof(randomOctets, mutatedBytes([hello]), mutatedBytes([hello])), 110);
    await inLanes(inputs, LANES, async (octets) => void (await sayPlainly(gateway.ready.est.port, octets)));
    await inLanes(inputs.slice(0, 70 * FUZZ_FACTOR), LANES, async (octets) => {
      // Whoever spoke no TLS hears at most an alert or half a handshake, never a word of MQTT.
      const said = await sayPlainly(gateway.ready.mqtt.port, octets);
      expect([undefined, 0x15, 0x16]).toContain(said[0]);
    });
  });

  test('handshakes that are cut or go wrong at any octet, at both doors', async () => {
    const [first] = identities;
    if (first === undefined) throw new Error('nobody is enrolled');
    const tls = clientTls(first.credential);
    await inLanes(some(spoilings, 60), LANES, (spoiling) => shakeHandsBadly(gateway.ready.est.port, spoiling, tls));
    await inLanes(some(spoilings, 40), LANES, (spoiling) => shakeHandsBadly(gateway.ready.mqtt.port, spoiling, tls));
  });

  test('spoilt HTTP requests', async () => {
    const { ticket } = await gateway.addDevice('http-1');
    const csr = formatEstBody(await makeCsr(makeKey()));
    const challenge = JSON.stringify({ version: 1, akPublic: 'AAAA' });
    const messages = [
      get('cacerts'),
      get('csrattrs'),
      get('/.well-known/gatehouse'),
      get(NONCE_PATH),
      post(NONCE_PATH, 'application/json', '{"len":16}'),
      post('simpleenroll', 'application/pkcs10', csr, basic('nobody', 'x'.repeat(26))),
      post('simpleenroll', 'application/pkcs10', 'MAA=', basic('http-1', ticket)),
      post('simplereenroll', 'application/pkcs10', csr),
      post('serverkeygen', 'application/pkcs10', csr, basic('http-1', ticket)),
      post('no-group/simpleenroll', 'application/pkcs10', csr, basic('http-1', ticket)),
      post(TPM_CHALLENGE_PATH, 'application/json', challenge, basic('http-1', ticket)),
    ];
    // As they are, they are understood: what follows is not all refused at the first octet.
    const answers: string[] = [];
    for (const message of messages) {
      const text = await askEst(Buffer.from(formatHttp(message), 'latin1'), {}, true);
      answers.push(text.slice(9, 12));
    }
    expect(answers.slice(0, 5)).toEqual(['200', '200', '200', '200', '200']);
    expect(answers.slice(5).join(' ')).toMatch(/^(4\d\d ?)+$/);
    const spoilt = fc.oneof(
      mutatedHttp(messages),
      mutatedHttp(messages),
      mutatedBytes(messages.map((message) => Buffer.from(formatHttp(message), 'latin1'))),
    );
    await inLanes(some(spoilt, 350), LANES, pesterEst);
  });

  test('spoilt CSRs and challenges that bring a good ticket', async () => {
    const key = makeKey();
    const csr = await makeCsr(key);
    const bodies = some(fc.oneof(mutatedDer([csr]), mutatedBytes([csr])), 120).filter((body) => !body.equals(csr));
    const challenge = { version: 1, ekPublic: 'AAAA', ekChain: ['AAAA'], akPublic: 'AAAA' };
    const deep = `{"length":${'['.repeat(20_000)}${']'.repeat(20_000)}}`;
    const challenges = some(mutatedJson([challenge]), 60);
    challenges.push(`{"version":1,"akPublic":${deep}}`, `{"version":1,"akPublic":"AAAA","ekChain":${deep}}`, deep);
    const works = [
      ...bodies.map((body) => ({ path: 'simpleenroll', type: 'application/pkcs10', body: formatEstBody(body) })),
      ...challenges.map((body) => ({ path: TPM_CHALLENGE_PATH, type: 'application/json', body })),
    ];
    const groups = works.reduce<(typeof works)[]>((list, work, index) => {
      const group = Math.floor(index / CSRS_PER_TICKET);
      list[group] = [...(list[group] ?? []), work];
      return list;
    }, []);
    let enrolled = 0;
    await inLanes([...groups.entries()], LANES, async ([index, group]) => {
      const deviceId = `csr-${index}`;
      const { ticket } = await gateway.addDevice(deviceId);
      for (const { path, type, body } of group) {
        const answer = await askEst(Buffer.from(formatHttp(post(path, type, body, basic(deviceId, ticket)))), {}, true);
        expect(answer).toMatch(/^HTTP\/1\.1 4\d\d /);
      }
      // None of it has spent the ticket, or brought anything else upon the device.
      const right = post('simpleenroll', 'application/pkcs10', formatEstBody(csr), basic(deviceId, ticket));
      if ((await askEst(Buffer.from(formatHttp(right)), {}, true)).startsWith('HTTP/1.1 200 ')) enrolled += 1;
    });
    expect(enrolled).toBeGreaterThan(0);
  });

  test('requests of devices that are gone before the answer', async () => {
    const csr = formatEstBody(await makeCsr(makeKey()));
    const { ticket } = await gateway.addDevice('gone-1');
    const messages = [
      get('cacerts'),
      post('simpleenroll', 'application/pkcs10', 'MAA=', basic('gone-1', ticket)),
      post('simplereenroll', 'application/pkcs10', csr),
      post(TPM_CHALLENGE_PATH, 'application/json', '{"version":1}'),
    ].map((message) => Buffer.from(formatHttp(message)));
    await inLanes(some(fc.constantFrom(...messages), 80), LANES, async (octets) => {
      const [first] = identities;
      await sayAndVanish(gateway.ready.est.port, octets, first === undefined ? root : clientTls(first.credential));
    });
    const connect = mqttPacket.generate({
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: 4,
      clean: true,
      clientId: 'gone',
    });
    await inLanes(identities, LANES, ({ credential }) =>
      sayAndVanish(gateway.ready.mqtt.port, connect, clientTls(credential)),
    );
  });

  test('spoilt requests of an enrolled device', async () => {
    const csr = formatEstBody(await makeCsr(makeKey()));
    const messages = [
      post('simplereenroll', 'application/pkcs10', csr),
      post(TPM_CHALLENGE_PATH, 'application/json', '{"version":1}'),
    ];
    const inputs = some(mutatedHttp(messages), 60);
    await inLanes([...inputs.entries()], LANES, async ([index, octets]) => {
      const identity = identities[index % identities.length];
      if (identity !== undefined) await askEst(octets, clientTls(identity.credential));
    });
  });

  test('spoilt MQTT packets, before and after CONNECT', async () => {
    await Promise.all(identities.map(({ deviceId, credential }) => talkNonsense(deviceId, credential)));
    expect(await bystander.ping()).toBe('acked');
    expect(bystander.messages()).toEqual([]);
  });

  /** In turn: a CONNECT that is spoilt, and a good one with spoilt packets after it. */
  async function talkNonsense(deviceId: string, credential: Credential): Promise<void> {
    const { port } = gateway.ready.mqtt;
    const tls = clientTls(credential);
    const will = { topic: `v1/d/${deviceId}/out/state`, payload: Buffer.from('{}'), qos: 0 as const, retain: false };
    const connect = mqttPacket.generate({
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: 4,
      clean: true,
      keepalive: 60,
      clientId: deviceId,
      will,
    });
    const packets = packetsOf(deviceId).map((packet) => mqttPacket.generate(packet));
    const ping = mqttPacket.generate({ cmd: 'pingreq' });
    const spoiltConnects = some(mutatedBytes([connect]), 4);
    const reports = fc.tuple(fc.constantFrom('state', 'ack', 'csr'), mutatedJson(REPORTS)).map(([kind, text]) =>
      mqttPacket.generate({
        cmd: 'publish',
        topic: `v1/d/${deviceId}/out/${kind}`,
        payload: text,
        qos: 1,
        messageId: 9,
        retain: false,
        dup: false,
      }),
    );
    const spoilt = fc.array(fc.oneof(mutatedBytes(packets), fc.constantFrom(...packets), reports), {
      minLength: 1,
      maxLength: 5,
    });
    const sessions = some(spoilt, 8);
    for (let turn = 0; turn < sessions.length; turn += 1) {
      const broken = spoiltConnects[turn];
      if (broken !== undefined) await sayInTls(port, [broken, ping], tls);
      const heard = await sayInTls(port, [connect, ...(sessions[turn] ?? []), ping], tls, { isOwed: true });
      // The good CONNECT was taken: CONNACK 0 stands first.
      expect(heard.subarray(0, 4).toString('hex')).toBe('20020000');
    }
  }

  test('after all of it nothing was lost, told, leaked or slowed down', async () => {
    // 503 is an answer (too busy); 500 and what a server says of itself is not.
    const failures = [...statuses].filter(([status]) => status >= 500 && status !== 503);
    expect(failures).toEqual([]);
    expect(statuses.get(400) ?? 0).toBeGreaterThan(50);
    expect(gateway.process.hasEnded).toBe(false);
    expect(gateway.process.log.filter(({ fields }) => fields['level'] === 'error')).toEqual([]);
    expect(gateway.process.log.filter(({ text }) => /INTERNAL|[Uu]ncaught|[Uu]nhandled/.test(text))).toEqual([]);
    await eventually('the sockets of before', openSockets, (count) => count <= before.sockets);
    expect((await heapBytes()) - before.heap).toBeLessThan(MAX_HEAP_GROWTH);
    expect(residentBytes(gateway.ready.pid) - before.resident).toBeLessThan(MAX_RESIDENT_GROWTH);
    expect(await bystander.ping()).toBe('acked');
    const start = performance.now();
    const late = await RawClient.connected(mqttDoorOf(gateway), await enrollByHand(gateway, 'late-1'), {
      clientId: 'late-1',
    });
    // Whoever is slowed down is told to come back in half a minute, or not at all.
    expect(performance.now() - start).toBeLessThan(30_000);
    await late.end();
  });
});
