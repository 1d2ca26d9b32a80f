import 'reflect-metadata';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeCredential } from '#ca/tpm2/make-credential.ts';
import { nameOf, parsePublicArea } from '#ca/tpm2/public-area.ts';
import { verifyCertifyEvidence } from '#ca/tpm2/verify-certify.ts';
import { MemoryStateStore } from '#device-agent/state/memory-state-store.ts';
import { writeProviderConfig } from '#device-agent/tpm/openssl-provider.ts';
import { TpmDevice } from '#device-agent/tpm/tpm-device.ts';
import { createTpmKeys } from '#device-agent/tpm/tpm-keys.ts';
import type { SoftwareTpm } from '#scripts/tpm/software-tpm.ts';
import { createTpmMaker, type TpmMaker } from '#scripts/tpm/tpm-maker.ts';
import { lacks } from '#test/fixtures/processes/outside-tools.ts';
import { ResourceManager } from '#test/fixtures/tpm/resource-manager.ts';
import { TlsClientProcess } from '#test/fixtures/tpm/tls-client-process.ts';
import { TlsDoor } from '#test/fixtures/tpm/tls-door.ts';
import { lacksTpmTls, tpmProvider } from '#test/fixtures/tpm/tpm-provider.ts';

const isAbsent = lacksTpmTls() || lacks('tpm2-abrmd', 'dbus-daemon');

describe.skipIf(isAbsent)('a TPM behind a resource manager', () => {
  let maker: TpmMaker;
  let tpm: SoftwareTpm;
  let manager: ResourceManager;
  let door: TlsDoor;
  let folder: string;
  const open = () => new TpmDevice({ store: new MemoryStateStore(), tcti: manager.tcti, create: true });

  beforeAll(async () => {
    maker = await createTpmMaker();
    tpm = await maker.makeTpm();
    manager = await ResourceManager.start(tpm);
    door = await TlsDoor.open();
    folder = await mkdtemp(join(tmpdir(), 'gatehouse-tls-'));
  });
  afterAll(async () => {
    door?.close();
    await manager?.stop();
    await maker?.dispose();
    if (folder) await rm(folder, { recursive: true, force: true });
  });

  it('proves who it is, although no handle of one program means anything to the next', async () => {
    const device = open();
    const { ekPublic, akPublic } = await device.identify();
    const akName = nameOf(parsePublicArea(akPublic));
    const secret = randomBytes(32);
    const credential = makeCredential({ ekPublic: parsePublicArea(ekPublic), akName, secret, random: randomBytes });
    expect(await device.activate(credential)).toEqual(secret);
    const key = await createTpmKeys(device).generate('ec-p256');
    const { attest, signature, publicArea } = await device.certify(key.pem, secret);
    verifyCertifyEvidence({
      ak: akPublic,
      expectedAkName: akName,
      attested: publicArea,
      attest,
      signature,
      qualifyingData: secret,
      csrPublicKey: key.publicKey,
    });
  });

  it('serves more processes with a key in TLS than it has slots', async () => {
    const config = await writeProviderConfig(folder, tpmProvider ?? '');
    const made = await createTpmKeys(open()).generate('ec-p256');
    const certificates = await door.certify(made.publicKey, 'pump-17');
    const setting = { tcti: manager.tcti, key: made.pem, certificates, anchors: door.rootPem };
    const clients = Array.from({ length: 5 }, () => new TlsClientProcess(setting, config));
    try {
      const answers = await Promise.all(
        clients.map((client) => client.order({ kind: 'dial', port: door.port, times: 5, keep: true })),
      );
      expect(answers.map(({ ms }) => ms?.length)).toEqual([5, 5, 5, 5, 5]);
      // While they hold their keys the tools have slots too.
      await createTpmKeys(open()).generate('ec-p256');
    } finally {
      await Promise.all(clients.map((client) => client.stop()));
    }
  });
});
