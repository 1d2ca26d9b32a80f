import 'reflect-metadata';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { formatPem } from '#ca/pkix/pem.ts';
import { softwareKeys } from '#device-agent/keys/software-keys.ts';
import { MemoryStateStore } from '#device-agent/state/memory-state-store.ts';
import { writeProviderConfig } from '#device-agent/tpm/openssl-provider.ts';
import { TpmDevice } from '#device-agent/tpm/tpm-device.ts';
import { createTpmKeys } from '#device-agent/tpm/tpm-keys.ts';
import type { SoftwareTpm } from '#scripts/tpm/software-tpm.ts';
import { createTpmMaker, type TpmMaker } from '#scripts/tpm/tpm-maker.ts';
import { eventually } from '#test/fixtures/processes/eventually.ts';
import { portsThatStayFree } from '#test/fixtures/processes/free-ports.ts';
import { lacks } from '#test/fixtures/processes/outside-tools.ts';
import { TlsClientProcess } from '#test/fixtures/tpm/tls-client-process.ts';
import { TlsDoor } from '#test/fixtures/tpm/tls-door.ts';
import { lacksTpmTls, tpmProvider } from '#test/fixtures/tpm/tpm-provider.ts';

describe.skipIf(lacksTpmTls())('TLS with a key that lives in the TPM', () => {
  let maker: TpmMaker;
  let tpm: SoftwareTpm;
  let folder: string;
  let config: string;
  let door: TlsDoor;
  let key: string;
  let certificates: string;
  const clients: TlsClientProcess[] = [];

  beforeAll(async () => {
    maker = await createTpmMaker();
    tpm = await maker.makeTpm();
    folder = await mkdtemp(join(tmpdir(), 'gatehouse-tls-'));
    config = await writeProviderConfig(folder, tpmProvider ?? '');
    door = await TlsDoor.open();
    const made = await createTpmKeys(device(tpm.tcti)).generate('ec-p256');
    key = made.pem;
    certificates = await door.certify(made.publicKey, 'pump-17');
  });
  afterEach(async () => {
    await Promise.all(clients.splice(0).map((client) => client.stop()));
    await tpm.tool('tpm2_flushcontext', '-t');
  });
  afterAll(async () => {
    door?.close();
    await maker?.dispose();
    await rm(folder, { recursive: true, force: true });
  });

  it('shows the certificate and proves the key to a server that demands it, over and over', async () => {
    const client = start();
    const { ms } = await client.order({ kind: 'dial', port: door.port, times: 30 });
    expect(ms).toHaveLength(30);
    expect(door.peers.at(-1)).toEqual({ name: 'pump-17', authorized: true });
    // One object for all connections.
    expect(await tpm.handles('transient')).toHaveLength(1);
  });

  it('refuses a server of another name, and one of another authority', async () => {
    const client = start();
    const elsewhere = await TlsDoor.open(door.authority, '127.0.0.2');
    const stranger = await TlsDoor.open();
    try {
      expect(await client.order({ kind: 'dial', port: elsewhere.port, host: '127.0.0.2' })).toMatchObject({
        code: 'GATEWAY_UNTRUSTED',
      });
      expect(await client.order({ kind: 'dial', port: stranger.port })).toMatchObject({ code: 'GATEWAY_UNTRUSTED' });
    } finally {
      elsewhere.close();
      stranger.close();
    }
  });

  it('loads the key again when it was flushed, also while an older connection lives', async () => {
    const client = start();
    await client.order({ kind: 'dial', port: door.port, keep: true });
    await tpm.tool('tpm2_flushcontext', '-t');
    expect(await client.order({ kind: 'dial', port: door.port, times: 3 })).toMatchObject({
      ms: expect.any(Array) as number[],
    });
  });

  it('goes on after the TPM was restarted between two connections', async () => {
    const client = start();
    await client.order({ kind: 'dial', port: door.port });
    await tpm.restart();
    expect(await client.order({ kind: 'dial', port: door.port })).toMatchObject({
      isDead: false,
      ms: expect.any(Array) as number[],
    });
  });

  it('gives its connection to the TPM up when that broke under it, even if the TPM is back', async () => {
    const client = start();
    await client.order({ kind: 'dial', port: door.port });
    await tpm.powerCut();
    // OpenSSL may go on without a certificate, and the server refuses that; the attempt after it finds out why.
    const answers = [
      await client.order({ kind: 'dial', port: door.port }),
      await client.order({ kind: 'dial', port: door.port }),
    ];
    expect(answers[0]?.ms).toBeUndefined();
    expect(answers[1]).toMatchObject({ code: 'TPM_UNUSABLE', isDead: true });
    await tpm.start();
    const again = start();
    expect(await again.order({ kind: 'dial', port: door.port })).toMatchObject({
      isDead: false,
      ms: expect.any(Array) as number[],
    });
  });

  it('says that the slots are taken, does not give up, and goes on when one is free', async () => {
    const client = start();
    for (const name of ['a', 'b', 'c'])
      await tpm.tool('tpm2_createprimary', '-Q', '-C', 'n', '-G', 'ecc256', '-c', `${name}.ctx`);
    expect(await client.order({ kind: 'dial', port: door.port })).toMatchObject({
      code: 'TPM_UNUSABLE',
      tpmCode: 'OBJECTS_EXHAUSTED',
      isDead: false,
    });
    await tpm.tool('tpm2_flushcontext', '-t');
    expect(await client.order({ kind: 'dial', port: door.port })).toMatchObject({ ms: expect.any(Array) as number[] });
  });

  it('says that the key belongs to another TPM', async () => {
    const other = await maker.makeTpm();
    await device(other.tcti).identify();
    const client = start({ tcti: other.tcti });
    expect(await client.order({ kind: 'dial', port: door.port })).toMatchObject({
      tpmCode: 'WRONG_TPM',
      isDead: false,
    });
    await client.stop();
    await other.powerCut();
  });

  it('says what to look at when OpenSSL does not know the TPM', async () => {
    const client = start({ config: undefined });
    expect(await client.order({ kind: 'dial', port: door.port })).toMatchObject({
      tpmCode: 'PROVIDER_UNFIT',
      advice: expect.stringContaining('gatehouse-agent check') as string,
    });
  });

  it('takes what a killed process left loaded out of the TPM, and nothing else', async () => {
    for (let crash = 1; crash <= 2; crash += 1) {
      const client = start();
      await client.order({ kind: 'dial', port: door.port, keep: true });
      clients.splice(clients.indexOf(client), 1);
      await client.kill9();
      await tpm.tool('tpm2_createprimary', '-Q', '-C', 'n', '-G', 'ecc256', '-c', 'other.ctx');
      expect(await tpm.handles('transient')).toHaveLength(2);
      await device(tpm.tcti).releaseLeftovers([key]);
      expect(await tpm.handles('transient')).toHaveLength(1);
      await tpm.tool('tpm2_flushcontext', '-t');
    }
  });

  it.skipIf(lacks('mosquitto'))(
    'connects to mosquitto, which demands certificates and takes the name from them',
    async () => {
      const [brokerPort = 0] = await portsThatStayFree(1);
      const serverCertificate = await door.authority.issueServer();
      await writeFile(join(folder, 'server.pem'), serverCertificate.certificatePem);
      await writeFile(join(folder, 'server.key'), serverCertificate.keyPem);
      await writeFile(join(folder, 'ca.pem'), door.rootPem + formatPem('CERTIFICATE', door.authority.intermediateDer));
      await writeFile(
        join(folder, 'mosquitto.conf'),
        [
          'per_listener_settings false',
          `listener ${brokerPort} 127.0.0.1`,
          `cafile ${folder}/ca.pem`,
          `certfile ${folder}/server.pem`,
          `keyfile ${folder}/server.key`,
          'require_certificate true',
          'use_identity_as_username true',
          'persistence false',
          'user root',
          '',
        ].join('\n'),
      );
      const broker = spawn('mosquitto', ['-c', join(folder, 'mosquitto.conf')], {
        stdio: 'ignore',
        env: { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin` },
      });
      try {
        const client = start();
        await eventually(
          'mosquitto lets the device in',
          () => client.order({ kind: 'mqtt', port: brokerPort, clientId: 'pump-17' }),
          ({ outcome }) => outcome === 'connected',
        );
      } finally {
        const ended = once(broker, 'exit');
        broker.kill();
        await ended;
      }
    },
  );

  it('is measured beside a key in a file', async () => {
    const software = await softwareIdentity();
    const inFile = start({ key: software.key, certificates: software.certificates, config: undefined });
    const inTpm = start();
    for (const client of [inFile, inTpm]) await client.order({ kind: 'dial', port: door.port, times: 5 });
    const [file, chip] = [
      await inFile.order({ kind: 'dial', port: door.port, times: 60 }),
      await inTpm.order({ kind: 'dial', port: door.port, times: 60 }),
    ];
    console.info(
      `handshake p50: key in a file ${median(file.ms ?? []).toFixed(1)} ms, key in a software TPM ${median(chip.ms ?? []).toFixed(1)} ms; ` +
        `memory ${mebibytes(file.memory)} and ${mebibytes(chip.memory)} MiB`,
    );
    expect(chip.ms).toHaveLength(60);
  });

  function start(
    own: { tcti?: string; key?: string; certificates?: string; config?: string | undefined } = {},
  ): TlsClientProcess {
    const setting = { tcti: tpm.tcti, key, certificates, anchors: door.rootPem, ...own };
    const client = new TlsClientProcess(setting, 'config' in own ? own.config : config);
    clients.push(client);
    return client;
  }

  async function softwareIdentity(): Promise<{ key: string; certificates: string }> {
    const made = await softwareKeys.generate('ec-p256');
    return { key: made.pem, certificates: await door.certify(made.publicKey, 'pump-18') };
  }
});

function device(tcti: string): TpmDevice {
  return new TpmDevice({ store: new MemoryStateStore(), tcti, create: true });
}

function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

function mebibytes(bytes: number): string {
  return (bytes / 2 ** 20).toFixed(0);
}
