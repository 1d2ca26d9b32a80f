import { createHash, randomBytes, verify, X509Certificate } from 'node:crypto';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { EndorsementKind } from '#ca/tpm2/endorsement-kind.ts';
import { makeCredential } from '#ca/tpm2/make-credential.ts';
import { formatAttributes } from '#ca/tpm2/object-attributes.ts';
import { nameOf, parsePublicArea } from '#ca/tpm2/public-area.ts';
import { formatSpki } from '#ca/tpm2/public-area-key.ts';
import { verifyCertifyEvidence } from '#ca/tpm2/verify-certify.ts';
import { MemoryStateStore } from '#device-agent/state/memory-state-store.ts';
import { scratchHandleOf } from '#device-agent/tpm/attestation-key.ts';
import { TpmDevice } from '#device-agent/tpm/tpm-device.ts';
import type { TpmError } from '#device-agent/tpm/tpm-error.ts';
import { createTpmKeys } from '#device-agent/tpm/tpm-keys.ts';
import { parseTss2Pem } from '#device-agent/tpm/tss2-key.ts';
import type { SoftwareTpm } from '#scripts/tpm/software-tpm.ts';
import { createTpmMaker, type TpmMaker } from '#scripts/tpm/tpm-maker.ts';
import { lacksSoftwareTpm } from '#test/fixtures/tpm/tpm-provider.ts';

describe.skipIf(lacksSoftwareTpm())('a TPM as the agent uses it', () => {
  let maker: TpmMaker;
  let tpm: SoftwareTpm;
  let workFolder: string | undefined;

  beforeAll(async () => {
    maker = await createTpmMaker();
    tpm = await maker.makeTpm();
    // A place of its own, so that what is left there was left by this test.
    workFolder = await mkdtemp(join(tmpdir(), 'tpm-work-'));
    process.env['TMPDIR'] = workFolder;
  });
  afterAll(async () => {
    await maker?.dispose();
    if (workFolder) await rm(workFolder, { recursive: true, force: true });
  });

  const open = (more: Partial<ConstructorParameters<typeof TpmDevice>[0]> = {}) => {
    const store = new MemoryStateStore();
    return { store, device: new TpmDevice({ store, tcti: tpm.tcti, create: true, ...more }) };
  };

  it('makes an attestation key that is restricted, fixed to this TPM and exempt from lockout', async () => {
    const { device, store } = open();
    const ak = parsePublicArea((await device.identify()).akPublic);
    expect(formatAttributes(ak.attributes).toString(16)).toBe('50472');
    expect(await store.readRecord('tpm')).toMatchObject({ tcti: tpm.tcti, akName: nameOf(ak).toString('hex') });
  });

  it('uses the attestation key on record again, and makes no second one', async () => {
    const { device, store } = open();
    const first = await device.identify();
    const before = await tpm.handles('persistent');
    const again = await new TpmDevice({ store, tcti: tpm.tcti, create: false }).identify();
    expect(again.akPublic).toEqual(first.akPublic);
    expect(await tpm.handles('persistent')).toEqual(before);
  });

  it('completes an attestation key that was about to be made when the agent ended', async () => {
    const { device, store } = open();
    const { akPublic } = await device.identify();
    const { akName: _, ...interrupted } = (await store.readRecord('tpm')) as Record<string, unknown>;
    await store.writeRecord('tpm', interrupted);
    const before = await tpm.handles('persistent');
    const again = await open({ store }).device.identify();
    expect(again.akPublic).toEqual(akPublic);
    expect(await tpm.handles('persistent')).toEqual(before);
  });

  it('makes device keys that sign for the certificate they are asked for', async () => {
    const keys = createTpmKeys(open().device);
    const key = await keys.generate('ec-p256');
    const message = randomBytes(500);
    const signature = await keys.load(key.pem).sign(message);
    expect(verify('sha256', message, { key: key.publicKey, format: 'der', type: 'spki' }, signature)).toBe(true);
    expect(key.pem).toMatch(/^-----BEGIN TSS2 PRIVATE KEY-----/);
  });

  it('refuses kinds of keys that it does not make, and keys from files', async () => {
    const keys = createTpmKeys(open().device);
    await expect(keys.generate('rsa-2048')).rejects.toMatchObject({ code: 'KEY_UNSUPPORTED' });
    expect(() => keys.load('-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n')).toThrow(
      /not a key of a TPM/,
    );
  });

  it.each<EndorsementKind>(['rsa-2048', 'ec-p256', 'ec-p384'])(
    'opens a credential made for its %s endorsement key',
    async (endorsement) => {
      const { device } = open({ endorsement });
      const { ekPublic, akPublic, ekCertificate } = await device.identify();
      const secret = randomBytes(32);
      const ak = parsePublicArea(akPublic);
      const credential = makeCredential({
        ekPublic: parsePublicArea(ekPublic),
        akName: nameOf(ak),
        secret,
        random: randomBytes,
      });
      expect(await device.activate(credential)).toEqual(secret);
      // swtpm gives no certificate for P-256.
      expect(ekCertificate === undefined).toBe(endorsement === 'ec-p256');
      if (ekCertificate) {
        const issuer = new X509Certificate(await maker.issuer());
        expect(new X509Certificate(ekCertificate).checkIssued(issuer)).toBe(true);
      }
    },
  );

  it('does not open a credential for another attestation key', async () => {
    const { device } = open();
    const { ekPublic } = await device.identify();
    const akName = Buffer.concat([Buffer.from('000b', 'hex'), randomBytes(32)]);
    const credential = makeCredential({
      ekPublic: parsePublicArea(ekPublic),
      akName,
      secret: randomBytes(32),
      random: randomBytes,
    });
    await expect(device.activate(credential)).rejects.toMatchObject({ code: 'TPM_UNUSABLE', tpmCode: 'WRONG_TPM' });
  });

  it('does not open a credential for another TPM', async () => {
    const other = await maker.makeTpm();
    const { ekPublic } = await new TpmDevice({
      store: new MemoryStateStore(),
      tcti: other.tcti,
      create: true,
    }).identify();
    const { device } = open();
    const akName = nameOf(parsePublicArea((await device.identify()).akPublic));
    const credential = makeCredential({
      ekPublic: parsePublicArea(ekPublic),
      akName,
      secret: randomBytes(32),
      random: randomBytes,
    });
    await expect(device.activate(credential)).rejects.toMatchObject({ code: 'TPM_UNUSABLE' });
    await other.powerCut();
  });

  it('certifies a device key with the qualifying data it is given', async () => {
    const { device } = open();
    const keys = createTpmKeys(device);
    const key = await keys.generate('ec-p256');
    const { akPublic } = await device.identify();
    const qualifyingData = createHash('sha256').update('fresh').digest();
    const { attest, signature, publicArea } = await device.certify(key.pem, qualifyingData);
    expect(formatSpki(parsePublicArea(publicArea))).toEqual(key.publicKey);
    verifyCertifyEvidence({
      ak: akPublic,
      expectedAkName: nameOf(parsePublicArea(akPublic)),
      attested: publicArea,
      attest,
      signature,
      qualifyingData,
      csrPublicKey: key.publicKey,
    });
  });

  it('leaves neither objects nor sessions nor persistent keys nor files behind', async () => {
    const { device } = open();
    const keys = createTpmKeys(device);
    const { ekPublic, akPublic } = await device.identify();
    const before = { persistent: await tpm.handles('persistent'), files: await leftFiles() };
    const key = await keys.generate('ec-p256');
    await key.sign(Buffer.from('message'));
    await device.certify(key.pem, Buffer.alloc(32));
    const akName = nameOf(parsePublicArea(akPublic));
    await device.activate(
      makeCredential({ ekPublic: parsePublicArea(ekPublic), akName, secret: randomBytes(32), random: randomBytes }),
    );
    expect(await tpm.handles('transient')).toEqual([]);
    expect(await tpm.handles('loaded-session')).toEqual([]);
    expect(await tpm.handles('saved-session')).toEqual([]);
    expect({ persistent: await tpm.handles('persistent'), files: await leftFiles() }).toEqual(before);
  });

  it('removes the files that a killed run has left in its folder', async () => {
    const place = join(tmpdir(), 'work');
    await mkdir(place);
    await writeFile(join(place, 'secret.bin'), 'left');
    await createTpmKeys(open({ workFolder: place }).device).generate('ec-p256');
    expect(await leftFiles()).toEqual([]);
  });

  it("does not touch another program's objects, and needs only two of the three slots", async () => {
    const { device } = open();
    await tpm.tool('tpm2_createprimary', '-Q', '-C', 'n', '-G', 'ecc256', '-c', 'other.ctx');
    const others = await tpm.handles('transient');
    expect(others).toHaveLength(1);
    const key = await createTpmKeys(device).generate('ec-p256');
    await device.certify(key.pem, Buffer.alloc(32));
    await key.sign(Buffer.from('message'));
    expect(await tpm.handles('transient')).toEqual(others);
    await tpm.tool('tpm2_flushcontext', '-t');
  });

  it('says who holds the slots when there are none left, and works again once they are free', async () => {
    const { device } = open();
    const key = await createTpmKeys(device).generate('ec-p256');
    for (const name of ['a', 'b', 'c']) {
      await tpm.tool('tpm2_createprimary', '-Q', '-C', 'n', '-G', 'ecc256', '-c', `${name}.ctx`);
    }
    const error: TpmError = await key.sign(Buffer.from('message')).then(
      () => expect.fail(),
      (thrown) => thrown,
    );
    expect(error).toMatchObject({ tpmCode: 'OBJECTS_EXHAUSTED', responseCode: 0x902 });
    expect(error.advice).toContain('resource manager');
    await tpm.tool('tpm2_flushcontext', '-t');
    await key.sign(Buffer.from('message'));
  });

  it('survives unclean power-offs after each kind of work without a step towards lockout', async () => {
    const { device } = open({ endorsement: 'rsa-2048' });
    const key = await createTpmKeys(device).generate('ec-p256');
    const { ekPublic, akPublic } = await device.identify();
    const akName = nameOf(parsePublicArea(akPublic));
    await tpm.tool('tpm2_dictionarylockout', '-c');
    await tpm.restart();
    for (let cut = 1; cut <= 4; cut += 1) {
      await device.activate(
        makeCredential({ ekPublic: parsePublicArea(ekPublic), akName, secret: randomBytes(32), random: randomBytes }),
      );
      await device.certify(key.pem, Buffer.alloc(32));
      await key.sign(Buffer.from('before the cut'));
      await tpm.powerCut();
      await tpm.start();
      expect(await tpm.lockoutCounter()).toBe(0);
      await key.sign(Buffer.from('after the cut'));
    }
  });

  it('tells another TPM from its own and does not make new keys in it', async () => {
    const { device, store } = open();
    const key = await createTpmKeys(device).generate('ec-p256');
    const other = await maker.makeTpm();
    const swapped = new TpmDevice({ store, tcti: other.tcti, create: false });
    await expect(swapped.identify()).rejects.toMatchObject({ tpmCode: 'WRONG_TPM' });
    expect(await other.handles('persistent')).not.toContain('0x81000001');
    // The same with a storage key in it: the wrapped key is of no use there.
    await new TpmDevice({ store: new MemoryStateStore(), tcti: other.tcti, create: true }).identify();
    await expect(swapped.identify()).rejects.toMatchObject({ tpmCode: 'WRONG_TPM' });
    await expect(swapped.sign(key.pem, Buffer.from('message'))).rejects.toMatchObject({ tpmCode: 'WRONG_TPM' });
    await other.powerCut();
  });

  it('says that no TPM answers, and where it looked', async () => {
    const { device } = open({ tcti: 'swtpm:path=/nowhere/tpm.sock' });
    await expect(device.identify()).rejects.toMatchObject({
      tpmCode: 'NO_TPM',
      advice: expect.stringContaining('/nowhere/tpm.sock') as string,
    });
  });

  it('names the Debian package when tpm2-tools are missing', async () => {
    const { PATH } = process.env;
    process.env['PATH'] = '/nowhere';
    try {
      await expect(open().device.identify()).rejects.toMatchObject({
        tpmCode: 'TOOL_MISSING',
        advice: expect.stringContaining('tpm2-tools') as string,
      });
    } finally {
      process.env['PATH'] = PATH;
    }
  });

  it('certifies beside another agent on the same TPM', async () => {
    const { tcti } = await maker.makeTpm();
    const agents = [open({ tcti }).device, open({ tcti }).device];
    const identities = await Promise.all(agents.map((agent) => agent.identify()));
    expect(identities[0]?.akPublic).not.toEqual(identities[1]?.akPublic);
    expect(identities[0]?.ekPublic).toEqual(identities[1]?.ekPublic);
    for (const agent of [...agents, ...agents]) {
      const key = await createTpmKeys(agent).generate('ec-p256');
      await agent.certify(key.pem, Buffer.alloc(32));
    }
  });

  it('uses an attestation key that an earlier disk has left when there is no room for another', async () => {
    const { tcti } = await maker.makeTpm();
    const left = (await open({ tcti }).device.identify()).akPublic;
    const full = () => open({ tcti }).device.identify();
    let last = await full();
    for (let count = 0; count < 20 && !last.akPublic.equals(left); count += 1) last = await full();
    expect(last.akPublic).toEqual(left);
  });

  it('clears the scratch handle that a killed run has left', async () => {
    const { device, store } = open();
    const keys = createTpmKeys(device);
    const left = await keys.generate('ec-p256');
    await device.certify(left.pem, Buffer.alloc(32));
    const { akHandle } = (await store.readRecord('tpm')) as { akHandle: number };
    const scratchHandle = scratchHandleOf(akHandle);
    await persist(left.pem, scratchHandle);
    const key = await keys.generate('ec-p256');
    const { publicArea } = await device.certify(key.pem, Buffer.alloc(32));
    expect(formatSpki(parsePublicArea(publicArea))).toEqual(key.publicKey);
    expect(await tpm.handles('persistent')).not.toContain(`0x${scratchHandle.toString(16)}`);
  });

  async function persist(pem: string, handle: number): Promise<void> {
    const { publicArea, privateArea } = parseTss2Pem(pem);
    await writeFile(`${tpm.stateDir}/left.pub`, publicArea);
    await writeFile(`${tpm.stateDir}/left.priv`, privateArea);
    await tpm.tool('tpm2_load', '-Q', '-C', '0x81000001', '-u', 'left.pub', '-r', 'left.priv', '-c', 'left.ctx');
    await tpm.tool('tpm2_flushcontext', '-t');
    await tpm.tool('tpm2_evictcontrol', '-Q', '-C', 'o', '-c', 'left.ctx', `0x${handle.toString(16)}`);
  }
});

function leftFiles(): Promise<string[]> {
  return readdir(tmpdir());
}
