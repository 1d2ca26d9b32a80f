import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseCertificate, verifyCertificateSignature } from '#ca/pkix/certificate.ts';
import { parseCertsOnly } from '#ca/pkix/cms.ts';
import { formatPem, parsePem } from '#ca/pkix/pem.ts';
import type { CaRolloverStatus, CaRolloverStep, DeviceNotReady } from '#gateway/contract/ca-rollover-api.ts';
import { parseEstBody } from '#gateway/contract/est.ts';
import type { Page } from '#gateway/contract/operator-api.ts';
import { askEst } from '#test/fixtures/processes/est-exchange.ts';
import { eventually } from '#test/fixtures/processes/eventually.ts';
import { type GatewayProcess, startGateway } from '#test/fixtures/processes/gateway-process.ts';
import { openssl } from '#test/fixtures/processes/openssl.ts';
import { run } from '#test/fixtures/processes/program.ts';
import { PublishingDevice } from '#test/fixtures/processes/publishing-fleet.ts';

const DEVICES = 8;

type Sessions = Record<string, { serial: string; since: number } | null>;

/** One intermediate takes the place of another, then one root the place of another, under traffic. */
describe('a CA is replaced while devices publish', () => {
  let gateway: GatewayProcess;
  let folder: string;
  const fleet: PublishingDevice[] = [];
  /** Away while everything is announced and activated. */
  let sleeper: PublishingDevice;
  let oldRoot: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'gatehouse-rollover-'));
    gateway = await startGateway({ staysReachable: true });
    oldRoot = join(folder, 'old-root.pem');
    await writeFile(oldRoot, await readFile(gateway.ready.rootPem));
    for (let n = 1; n <= DEVICES; n += 1) {
      const device = new PublishingDevice(`press-${n}`);
      await device.enroll(gateway, 'default');
      await device.start();
      fleet.push(device);
    }
    sleeper = new PublishingDevice('sleeper');
    await sleeper.enroll(gateway, 'default');
  });
  afterAll(async () => {
    await Promise.all([...fleet, sleeper].map((device) => device?.stop()));
    await gateway?.dispose();
    await rm(folder, { recursive: true, force: true });
  });

  const status = () => gateway.operator.call<CaRolloverStatus>('showCaRollover');
  const notReady = async () => (await gateway.operator.call<Page<DeviceNotReady>>('listCaRolloverDevices')).items;

  async function sessions(): Promise<Sessions> {
    const all: Sessions = {};
    for (const { deviceId } of fleet) {
      const { session } = await gateway.device(deviceId);
      all[deviceId] = session === null ? null : { serial: session.serial, since: session.since };
    }
    return all;
  }

  /** What a client sees that knows this root alone, with every library at hand. */
  async function expectServerVerified(rootPem: string): Promise<void> {
    for (const { port } of [gateway.ready.est, gateway.ready.operator]) {
      const args = ['s_client', '-connect', `127.0.0.1:${port}`, '-verify_return_error', '-verify_ip', '127.0.0.1'];
      const said = await openssl([...args, '-CAfile', rootPem, '-no-CApath'], '');
      expect(said).toContain('Verify return code: 0 (ok)');
    }
    const gnutls = await run(
      'gnutls-cli',
      ['--x509cafile', rootPem, '--verify-hostname', '127.0.0.1', '-p', String(gateway.ready.est.port), '127.0.0.1'],
      { input: '' },
    );
    expect(`${gnutls.stdout}${gnutls.stderr}`).toContain('The certificate is trusted.');
  }

  async function cacerts(rootPem: string): Promise<Buffer[]> {
    const answer = await askEst(gateway, { path: 'cacerts', tls: { ca: await readFile(rootPem) } });
    return parseCertsOnly(parseEstBody(answer.body) ?? Buffer.alloc(0));
  }

  /** openssl on every certificate in use, from each of these roots, with what /cacerts gives in between. */
  async function expectLeavesVerified(rootPems: string[]): Promise<void> {
    for (const rootPem of rootPems) {
      const between = join(folder, 'between.pem');
      const cas = await cacerts(rootPem);
      // As openssl wants it: of what issued itself it would take the first and look no further.
      const linked = cas.filter((der) => !isSelfIssued(der));
      await writeFile(between, linked.map((der) => formatPem('CERTIFICATE', der)).join(''));
      for (const { deps, deviceId } of fleet) {
        const generation = await deps.store.readGeneration((await deps.store.currentGeneration()) ?? 0);
        const leaf = join(folder, `${deviceId}.pem`);
        await writeFile(leaf, formatPem('CERTIFICATE', generation?.certificates[0] ?? Buffer.alloc(0)));
        const args = ['verify', '-x509_strict', '-purpose', 'sslclient', '-no-CApath', '-CAfile', rootPem];
        await openssl([...args, '-untrusted', between, leaf]);
      }
    }
  }

  /** Each issuer still signs the list of what it has issued, also when it is retired. */
  async function expectListsVerified(): Promise<void> {
    const { generations } = await status();
    const issuers = generations.filter(({ kind }) => kind === 'intermediate');
    for (const { keyId, sha256 } of issuers) {
      const path = (await isFirst(sha256)) ? 'intermediate' : keyId;
      const url = (rest: string) => new URL(rest, gateway.ready.status.url);
      const crl = await eventually(
        `the list of ${keyId}`,
        () => fetch(url(`/crl/${path}.crl`)),
        ({ status }) => status === 200,
      );
      const issuer = join(folder, 'issuer.pem');
      const [own] = await ownCertificates(keyId);
      await writeFile(issuer, formatPem('CERTIFICATE', own ?? Buffer.alloc(0)));
      const said = await openssl(
        ['crl', '-inform', 'DER', '-noout', '-verify', '-CAfile', issuer],
        Buffer.from(await crl.arrayBuffer()),
      );
      expect(said).toContain('verify OK');
    }
  }

  async function ownCertificates(keyId: string): Promise<Buffer[]> {
    const found: Buffer[] = [];
    for (let number = 1; number <= 4; number += 1) {
      const pem = await readFile(
        join(gateway.dataDir, 'ca', 'generations', String(number), 'intermediate.pem'),
        'utf8',
      ).catch(() => '');
      const ders = pem === '' ? [] : parsePem(pem, 'CERTIFICATE');
      found.push(...ders.filter((der) => parseCertificate(der).subjectKeyId === keyId));
    }
    return found;
  }

  async function isFirst(sha256: string): Promise<boolean> {
    const pem = await readFile(join(gateway.dataDir, 'ca', 'generations', '1', 'intermediate.pem'), 'utf8');
    return parsePem(pem, 'CERTIFICATE').some((der) => parseCertificate(der).sha256 === sha256);
  }

  async function rollOver(kind: 'intermediate' | 'root', previousRoot: string): Promise<string> {
    const before = await sessions();
    const disconnects = fleet.map((device) => device.count('disconnected'));
    const made = await gateway.gatehouse<{ keyId: string; rootSha256: string; isNewRoot: boolean }>(
      'ca',
      'rollover',
      'prepare',
      ...(kind === 'root' ? ['--root'] : []),
    );
    expect(made.isNewRoot).toBe(kind === 'root');
    expect((await status()).phase).toBe('prepared');

    const announced = await gateway.gatehouse<CaRolloverStep>('ca', 'rollover', 'announce');
    expect(announced).toMatchObject({ keyId: made.keyId, state: 'announced' });
    await eventually('everybody who is there knows the anchors', status, ({ withAnchors }) => withAnchors >= DEVICES);
    const away = kind === 'root' ? [expect.objectContaining({ deviceId: 'sleeper', lacks: ['anchors'] })] : [];
    expect(await notReady()).toEqual(away);

    const activated = await gateway.gatehouse<CaRolloverStep>('ca', 'rollover', 'activate');
    expect(activated).toMatchObject({ keyId: made.keyId, state: 'active' });
    // Up to here nobody has even changed its session.
    expect(await sessions()).toEqual(before);
    await expectServerVerified(previousRoot);
    const newRoot = join(folder, `root-${made.keyId}.pem`);
    await writeFile(newRoot, await readFile(join(gateway.dataDir, 'ca', 'root.pem')));
    expect(
      parseCertificate(parsePem(await readFile(newRoot, 'utf8'), 'CERTIFICATE')[0] ?? Buffer.alloc(0)).sha256,
    ).toBe(made.rootSha256);
    await expectServerVerified(newRoot);

    const tooEarly = await gateway.command('ca', 'rollover', 'retire');
    expect(tooEarly.code).toBe(1);
    expect(tooEarly.stderr).toMatch(/9 of 9 devices would be cut off \(0 % ready\)/);
    const shown = await gateway.command('ca', 'rollover', 'status');
    expect(shown.stdout).toMatch(/0\.0 % ready, 9 devices are not, here they are:/);
    expect(shown.stdout).toContain('sleeper');

    const tainted = await gateway.gatehouse<CaRolloverStep>('ca', 'rollover', 'taint', '--rate', '6000');
    expect(tainted.campaignId).not.toBeNull();
    await eventually('everybody who is there has renewed', status, ({ ready }) => ready === DEVICES);
    await expectLeavesVerified([previousRoot, newRoot]);
    expect(await notReady()).toEqual([expect.objectContaining({ deviceId: 'sleeper', connected: false })]);
    expect((await status()).readyPercent).toBe(88.8);

    // Away since before the announcement, it comes back to a CA it has never heard of.
    await sleeper.start();
    const all = await eventually('the last one, too', status, ({ ready }) => ready === DEVICES + 1);
    expect(all).toMatchObject({ readyPercent: 100, next: expect.stringContaining('retire') });
    await sleeper.stop();

    const retired = await gateway.gatehouse<CaRolloverStep>('ca', 'rollover', 'retire');
    expect(retired.state).toBe('retired');
    await expectListsVerified();
    expect(fleet.map((device) => device.count('disconnected'))).toEqual(disconnects);
    return newRoot;
  }

  test('the intermediate: nobody is disconnected, a device that was away catches up', async () => {
    await rollOver('intermediate', oldRoot);
  });

  test('the root: the same, and afterwards nobody trusts the old one any more', async () => {
    const newRoot = await rollOver('root', oldRoot);
    const fresh = parsePem(await readFile(newRoot, 'utf8'), 'CERTIFICATE');
    for (const device of fleet) {
      await eventually(
        `${device.deviceId} drops the old root`,
        () => device.anchors(),
        (anchors) => anchors.length === 1,
      );
      expect(await device.anchors()).toEqual(fresh);
    }
    const shown = await cacerts(newRoot);
    const old = parseCertificate(parsePem(await readFile(oldRoot, 'utf8'), 'CERTIFICATE')[0] ?? Buffer.alloc(0));
    expect(shown.some((der) => verifyCertificateSignature(parseCertificate(der), old.publicKey))).toBe(false);
    expect(await readFile(join(gateway.dataDir, 'trust-anchors.pem'), 'utf8')).toBe(await readFile(newRoot, 'utf8'));
    await expectServerVerified(newRoot);
    await expect(expectServerVerified(oldRoot)).rejects.toThrow();
    await expectLeavesVerified([newRoot]);
    const another = new PublishingDevice('newcomer');
    await another.enroll(gateway, 'default');
    expect(await another.anchors()).toEqual(fresh);
  });

  test('all that was published has arrived, without a gap', async () => {
    for (const device of fleet) {
      expect(device.confirmed).toBeGreaterThan(50);
      // Whoever had fallen out would have waited for its turn to come back.
      expect(device.longestGapMs).toBeLessThan(30_000);
    }
    expect(fleet.map((device) => device.count('disconnected'))).toEqual(fleet.map(() => 0));
  });
});

function isSelfIssued(der: Buffer): boolean {
  const { subject, issuer } = parseCertificate(der);
  return subject.equals(issuer);
}
