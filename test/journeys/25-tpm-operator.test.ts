import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseCertificate } from '#ca/pkix/certificate.ts';
import { formatPem } from '#ca/pkix/pem.ts';
import type {
  AllowedEkSummary,
  GroupDetail,
  HardwareReplaced,
  TpmRootSummary,
} from '#gateway/contract/operator-api.ts';
import { createSimulatedMaker } from '#simulators/tpm/simulated-maker.ts';
import { type GatewayProcess, startGateway } from '#test/fixtures/processes/gateway-process.ts';

describe('an operator decides which TPMs are trusted', () => {
  const maker = createSimulatedMaker();
  let gateway: GatewayProcess;
  const keys = ['one', 'two', 'three'].map((name) => createHash('sha256').update(name).digest('hex'));

  beforeAll(async () => {
    gateway = await startGateway();
  });
  afterAll(() => gateway?.dispose());

  const fileOf = async (name: string, content: string | Buffer) => {
    const path = join(gateway.folder, name);
    await writeFile(path, content);
    return path;
  };

  test('by pinning the makers, all certificates of a PEM file or one in DER', async () => {
    const pem = formatPem('CERTIFICATE', maker.rootCertificate) + formatPem('CERTIFICATE', maker.issuerCertificate);
    const added = await gateway.gatehouse<TpmRootSummary[]>('tpm', 'root', 'add', await fileOf('maker.pem', pem));
    expect(added.map(({ kind }) => kind)).toEqual(['root', 'intermediate']);
    await gateway.gatehouse('tpm', 'root', 'add', await fileOf('root.der', maker.rootCertificate), '--note', 'again');
    const listed = await gateway.operator.list<TpmRootSummary>('listTpmRoots');
    expect(listed.map(({ subject }) => subject).toSorted()).toEqual([
      'CN=Simulated TPM Issuer',
      'CN=Simulated TPM Root',
    ]);
  });

  test('and trusts a maker no longer', async () => {
    const { sha256 } = parseCertificate(maker.issuerCertificate);
    const { code, stderr } = await gateway.command('tpm', 'root', 'remove', sha256.toUpperCase());
    expect([code, stderr]).toEqual([0, 'CN=Simulated TPM Issuer is not trusted any more\n']);
    expect(await gateway.gatehouse<TpmRootSummary[]>('tpm', 'root', 'list')).toHaveLength(1);
  });

  test('by a list of endorsement keys, read whole before anything is sent, row by row', async () => {
    const [one = '', two = '', three = ''] = keys;
    const rows = `ek_sha256,device_id,note\n${one},press-07,"box 1"\n\n# by hand\n${two.toUpperCase()},,lent, for a week\n`;
    const csv = await fileOf('list.csv', rows);
    const dry = await gateway.command('tpm', 'ek', 'allow', '--csv', csv, '--dry-run');
    expect(dry.stdout).toContain('would be sent');
    expect(await gateway.operator.list('listAllowedEks')).toEqual([]);
    const outcomes = () => gateway.gatehouse<{ outcome: string }[]>('tpm', 'ek', 'allow', '--csv', csv);
    expect((await outcomes()).map(({ outcome }) => outcome)).toEqual(['added', 'added']);
    expect((await outcomes()).map(({ outcome }) => outcome)).toEqual(['unchanged', 'unchanged']);
    await gateway.gatehouse('tpm', 'ek', 'allow', three, '--device', 'press-08', '--note', 'spare');
    const listed = await gateway.gatehouse<AllowedEkSummary[]>('tpm', 'ek', 'list');
    const byKey = new Map(listed.map(({ ekSha256, deviceId, note }) => [ekSha256, [deviceId, note]]));
    expect(keys.map((key) => byKey.get(key))).toEqual([
      ['press-07', 'box 1'],
      [null, 'lent, for a week'],
      ['press-08', 'spare'],
    ]);
    await gateway.gatehouse('tpm', 'ek', 'remove', three);
    expect(await gateway.operator.list('listAllowedEks')).toHaveLength(2);
  });

  test('and is told the line of a list that is wrong', async () => {
    const csv = await fileOf('wrong.csv', `${keys[0]}\nnot-a-hash,press-07\n`);
    const { code, stderr } = await gateway.command('tpm', 'ek', 'allow', '--csv', csv);
    expect(code).toBe(1);
    expect(stderr).toContain('wrong.csv:2:');
  });

  test('and what a group asks of its devices', async () => {
    const set = ['group', 'set', 'default', '--proof', 'tpm', '--publish-proof', 'tpm-endorsed'];
    const { policy } = await gateway.gatehouse<GroupDetail>(...set);
    expect(policy).toMatchObject({ proof: 'tpm', publishProof: 'tpm-endorsed' });
  });

  test('and says that the hardware of a device was replaced', async () => {
    await gateway.addDevice('press-07');
    const replaced = await gateway.gatehouse<HardwareReplaced>('device', 'replace-hardware', 'press-07');
    expect(replaced).toMatchObject({ deviceId: 'press-07', serials: [], previousEkSha256: null });
    expect(replaced.joinUrl).toContain(replaced.ticket);
  });
});
