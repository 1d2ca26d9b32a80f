import { appendFileSync, readFileSync, renameSync } from 'node:fs';
import * as pkijs from 'pkijs';
import { describe, expect, it } from 'vitest';
import { readAuthorityFolder } from '#ca/ceremony/authority-folder.ts';
import { writeIssuing } from '#ca/ceremony/generation-folders.ts';
import { initialiseAuthority } from '#ca/ceremony/initialise-authority.ts';
import { prepareSuccessor } from '#ca/ceremony/prepare-successor.ts';
import { signRootCrl } from '#ca/ceremony/sign-root-crl.ts';
import { parseCertificate } from '#ca/pkix/certificate.ts';
import { readDer } from '#ca/pkix/der.ts';
import { OID } from '#ca/pkix/oids.ts';
import type { CrlOrder } from '#ca/ports/certificate-authority.ts';
import { formatRevokedEntry } from '#ca/revocation/crl.ts';
import { parseCrl, verifyCrlSignature } from '#ca/revocation/parse-crl.ts';
import { deviceOrder, newSerial, openTestAuthority } from '#test/fixtures/ca/authority.ts';
import { DAY, NOW } from '#test/fixtures/ca/certificates.ts';
import { makeKey } from '#test/fixtures/ca/keys.ts';
import { tempFolder } from '#test/fixtures/ca/temp-folder.ts';

const statusUrl = 'http://status.example:8080';
const times = { thisUpdate: NOW, nextUpdate: NOW + DAY };
const empty = Buffer.alloc(0);
const shard = (index: number, count = 4) => ({ kind: 'shard', index, count }) as const;
const delta = (baseNumber: number) => ({ kind: 'delta', baseNumber }) as const;

function extensionsOf(der: Buffer): Map<string, { critical: boolean; hex: string }> {
  const { crlExtensions } = pkijs.CertificateRevocationList.fromBER(der);
  return new Map(
    crlExtensions?.extensions.map(({ extnID, critical, extnValue }) => [
      extnID,
      { critical, hex: Buffer.from(extnValue.valueBlock.valueHexView).toString('hex') },
    ]),
  );
}

describe('a shard', () => {
  it('says critically which certificates it covers, by the very URL that stands in them', async () => {
    const { authority } = await openTestAuthority({ statusUrl, crlShards: 4 });
    const order = deviceOrder();
    const certificate = parseCertificate(await authority.issue(order));
    const index = Number.parseInt(order.serial.slice(-8), 16) % 4;
    const url = Buffer.from(`${statusUrl}/crl/shard-4-${index}.crl`);
    expect(certificate.extensions.get(OID.crlDistributionPoints)?.value.includes(url)).toBe(true);
    const list = await authority.signCrl({ scope: shard(index), number: 1, ...times, entries: empty });
    const point = extensionsOf(list).get(OID.issuingDistributionPoint);
    expect(point).toMatchObject({ critical: true });
    expect(point?.hex).toContain(url.toString('hex'));
    // onlyContainsUserCerts [1] TRUE
    expect(point?.hex.endsWith('8101ff')).toBe(true);
  });

  it('goes on naming where status was to be had before, for the certificates that do', async () => {
    const former = ['http://10.0.0.7:8080', 'http://old.example'];
    const { authority } = await openTestAuthority({ statusUrl, formerStatusUrls: former, crlShards: 4 });
    const list = await authority.signCrl({ scope: shard(2), number: 1, ...times, entries: empty });
    // [0] distributionPoint { [0] fullName { [6] URI ... } }, [1] onlyContainsUserCerts
    const point = Buffer.from(extensionsOf(list).get(OID.issuingDistributionPoint)?.hex ?? '', 'hex');
    const [names, users, ...more] = readDer(point).children();
    const urls = names
      ?.children()[0]
      ?.children()
      .map(({ tag, content }) => `${tag.toString(16)} ${content.toString('latin1')}`);
    expect(urls).toEqual([statusUrl, ...former].map((base) => `86 ${base}/crl/shard-4-2.crl`));
    expect(users?.raw.toString('hex')).toBe('8101ff');
    expect(more).toEqual([]);
    const order = deviceOrder();
    const { extensions } = parseCertificate(await authority.issue(order));
    expect(extensions.get(OID.crlDistributionPoints)?.value.toString('latin1')).not.toContain('old.example');
    expect(await authority.describe()).toMatchObject({ statusUrl });
  });

  it.each([
    ['that does not exist', shard(4)],
    ['of one', shard(0, 1)],
    ['of too many', shard(0, 257)],
    ['with a negative number', shard(-1)],
  ])('%s is refused', async (_what, scope) => {
    const { authority } = await openTestAuthority({ statusUrl });
    await expect(authority.signCrl({ scope, number: 1, ...times, entries: empty })).rejects.toMatchObject({
      code: 'CRL_REFUSED',
    });
  });

  it('is refused by an authority that knows no URL for it', async () => {
    const { authority } = await openTestAuthority();
    const order = { scope: shard(1), number: 1, ...times, entries: empty };
    await expect(authority.signCrl(order)).rejects.toMatchObject({ code: 'CRL_REFUSED' });
  });
});

describe('a delta list', () => {
  it('names its base critically, and may take out what was on hold', async () => {
    const { authority } = await openTestAuthority({ statusUrl });
    const entries = formatRevokedEntry({ serial: newSerial(), revokedAt: NOW, reason: 'removeFromCRL' });
    const list = await authority.signCrl({ scope: delta(3), number: 4, ...times, entries });
    expect(extensionsOf(list).get(OID.deltaCrlIndicator)).toEqual({ critical: true, hex: '020103' });
    expect(() => parseCrl(list)).toThrow(/critical/);
    const whole = { number: 4, ...times, entries };
    await expect(authority.signCrl(whole)).rejects.toMatchObject({ code: 'CRL_REFUSED' });
  });

  it.each([0, -1, 4, 5])('with the base %i and the number 4 is refused', async (base) => {
    const { authority } = await openTestAuthority();
    const order = { scope: delta(base), number: 4, ...times, entries: empty };
    await expect(authority.signCrl(order)).rejects.toMatchObject({ code: 'CRL_REFUSED' });
  });

  it('is named by the complete list that has one, and by no other', async () => {
    const { authority } = await openTestAuthority({ statusUrl });
    const scope = { kind: 'full', hasDelta: true } as const;
    const named = await authority.signCrl({ scope, number: 1, ...times, entries: empty });
    const url = Buffer.from(`${statusUrl}/crl/delta.crl`).toString('hex');
    expect(extensionsOf(named).get(OID.freshestCrl)).toMatchObject({ critical: false });
    expect(extensionsOf(named).get(OID.freshestCrl)?.hex.endsWith(url)).toBe(true);
    const later = { thisUpdate: NOW + 1000, nextUpdate: NOW + DAY };
    const unnamed = await authority.signCrl({ number: 2, ...later, entries: empty });
    expect(extensionsOf(unnamed).has(OID.freshestCrl)).toBe(false);
  });
});

const sign = (opened: Awaited<ReturnType<typeof openTestAuthority>>, more: Partial<CrlOrder>) =>
  opened.authority.signCrl({ number: 5, ...times, entries: empty, ...more });

describe('numbers and times', () => {
  it('are held against the last list of the same scope: lists of one moment share them', async () => {
    const opened = await openTestAuthority({ statusUrl });
    for (const scope of [undefined, delta(1), shard(0), shard(1)])
      await sign(opened, scope === undefined ? {} : { scope });
    await expect(sign(opened, { scope: shard(1) })).rejects.toMatchObject({ code: 'CRL_REFUSED' });
    await expect(sign(opened, { scope: shard(0, 8) })).resolves.toBeInstanceOf(Buffer);
    expect((await opened.authority.describe()).lastCrlNumber).toBe(5);
  });

  it('are remembered for each scope over a restart', async () => {
    const dir = tempFolder();
    const first = await openTestAuthority({ dir, statusUrl });
    await sign(first, { number: 9 });
    await sign(first, { number: 7, scope: delta(1) });
    await first.journal.close();
    const { root, intermediate } = first;
    const again = await openTestAuthority({ dir, statusUrl, root, intermediate });
    const next = { thisUpdate: NOW + 1000 };
    await expect(sign(again, { number: 9, ...next })).rejects.toMatchObject({ code: 'CRL_REFUSED' });
    await expect(sign(again, { number: 8, scope: delta(1), ...next })).resolves.toBeInstanceOf(Buffer);
    expect((await again.authority.describe()).lastCrlNumber).toBe(9);
  });

  it('of a journal that knew one list count for every scope', async () => {
    const dir = tempFolder();
    const first = await openTestAuthority({ dir });
    await first.journal.close();
    const line = { kind: 'crl', at: NOW, number: 40, thisUpdate: NOW - DAY, sha256: 'ab'.repeat(32) };
    appendFileSync(first.journalPath, `${JSON.stringify(line)}\n`);
    const { root, intermediate } = first;
    const again = await openTestAuthority({ dir, statusUrl, root, intermediate });
    for (const scope of [{ kind: 'full' }, delta(1), shard(2)] as const) {
      await expect(sign(again, { number: 40, scope })).rejects.toMatchObject({ code: 'CRL_REFUSED' });
      await expect(sign(again, { number: 41, scope })).resolves.toBeInstanceOf(Buffer);
    }
  });

  it('of another issuer than this authority has are refused', async () => {
    const opened = await openTestAuthority();
    await expect(sign(opened, { issuerKeyId: 'ab'.repeat(20) })).rejects.toMatchObject({ code: 'CRL_REFUSED' });
    const issuerKeyId = opened.intermediate.certificate.subjectKeyId ?? '';
    await expect(sign(opened, { issuerKeyId })).resolves.toBeInstanceOf(Buffer);
  });
});

describe('a certificate', () => {
  it('without status says so and names no place to look', async () => {
    const { authority } = await openTestAuthority({ statusUrl, crlShards: 4 });
    const { extensions } = parseCertificate(await authority.issue(deviceOrder({ noRevAvail: true })));
    expect(extensions.get(OID.noRevAvail)).toEqual({ critical: false, value: Buffer.from('0500', 'hex') });
    expect(extensions.has(OID.crlDistributionPoints)).toBe(false);
    const access = extensions.get(OID.authorityInfoAccess)?.value.toString('latin1');
    expect(access).toContain(`${statusUrl}/ca/intermediate.cer`);
    expect(access).not.toContain('/ocsp');
  });

  it('that lives too long for that is refused', async () => {
    const { authority } = await openTestAuthority({ statusUrl });
    const order = deviceOrder({ noRevAvail: true, lifetimeSeconds: 31 * 24 * 3600 });
    await expect(authority.issue(order)).rejects.toMatchObject({ code: 'PROFILE_REFUSED' });
  });

  it('of a responder is for answers alone, cannot be asked about, and lives a week at most', async () => {
    const { authority } = await openTestAuthority({ statusUrl });
    const order = { serial: newSerial(), publicKey: makeKey().spki, profile: 'ocsp-responder' } as const;
    const week = 7 * 24 * 3600;
    const { extensions } = parseCertificate(await authority.issue({ ...order, lifetimeSeconds: 3600 }));
    expect(extensions.get(OID.ocspNoCheck)?.value.toString('hex')).toBe('0500');
    expect(extensions.get(OID.extendedKeyUsage)?.value.toString('hex')).toBe('300a06082b06010505070309');
    expect(extensions.has(OID.crlDistributionPoints)).toBe(false);
    const tooLong = { ...order, serial: newSerial(), lifetimeSeconds: week + 1 };
    await expect(authority.issue(tooLong)).rejects.toMatchObject({ code: 'PROFILE_REFUSED' });
  });
});

const readList = (path: string) => parseCrl(readFileSync(path));

describe('the CRL of the root', () => {
  it('is made by the ceremony, renewed with the key, and forgets nothing', async () => {
    const dir = `${tempFolder()}/ca`;
    await initialiseAuthority(dir, { now: NOW });
    const { root, intermediate } = await readAuthorityFolder(dir);
    const renewed = await signRootCrl(dir, { now: NOW + DAY });
    expect(renewed).toMatchObject({ number: 2, revoked: [] });
    const { serial } = intermediate;
    expect(
      await signRootCrl(dir, { now: NOW + DAY, revoke: serial.toUpperCase(), reason: 'cACompromise' }),
    ).toMatchObject({
      number: 3,
      revoked: [serial],
    });
    const last = await signRootCrl(dir, { now: NOW + 2 * DAY, days: 30 });
    expect(last).toMatchObject({ number: 4, revoked: [serial], nextUpdate: NOW + 32 * DAY });
    const crl = parseCrl(readFileSync(last.path));
    expect(verifyCrlSignature(crl, root.publicKey)).toBe(true);
    expect(crl.revoked.get(serial)?.reason).toBe('cACompromise');
  });

  it('of the next root is made with it, and each of the two goes on with its own', async () => {
    const dir = `${tempFolder()}/ca`;
    await initialiseAuthority(dir, { now: NOW });
    await signRootCrl(dir, { now: NOW + DAY });
    await prepareSuccessor(dir, { root: true, now: NOW + 2 * DAY });
    const { generations } = await readAuthorityFolder(dir);
    const [first, second] = generations;
    if (first === undefined || second === undefined) throw new Error('there are two');
    const paths = [`${dir}/root.crl`, `${second.dir}/root.crl`] as const;
    expect(verifyCrlSignature(readList(paths[1]), second.root.publicKey)).toBe(true);
    expect(readList(paths[1])).toMatchObject({ number: 1, authorityKeyId: second.root.subjectKeyId });
    await writeIssuing(dir, second);
    const now = NOW + 3 * DAY;
    expect(await signRootCrl(dir, { now })).toMatchObject({ path: paths[1], number: 2, revoked: [] });
    // The old intermediate is on the list of the root that has certified it, whichever root is in use.
    const { serial } = first.intermediate;
    expect(await signRootCrl(dir, { now, revoke: serial })).toMatchObject({
      path: paths[0],
      number: 3,
      revoked: [serial],
    });
    const rootKeyId = first.root.subjectKeyId?.slice(0, 8) ?? '';
    expect(await signRootCrl(dir, { now, rootKeyId })).toMatchObject({ path: paths[0], number: 4, revoked: [serial] });
    expect(verifyCrlSignature(readList(paths[0]), first.root.publicKey)).toBe(true);
    expect(readList(paths[1]).revoked.size).toBe(0);
    await expect(signRootCrl(dir, { now, rootKeyId: 'ffff0000' })).rejects.toThrow(/there is no root ffff0000/);
  });

  it('goes on with one that a version of before has put in the place of that of the first root', async () => {
    const dir = `${tempFolder()}/ca`;
    await initialiseAuthority(dir, { now: NOW });
    await prepareSuccessor(dir, { root: true, now: NOW });
    const second = (await readAuthorityFolder(dir)).generations.at(-1);
    if (second === undefined) throw new Error('there are two');
    await writeIssuing(dir, second);
    const { path } = await signRootCrl(dir, { now: NOW + DAY });
    renameSync(path, `${dir}/root.crl`);
    expect(await signRootCrl(dir, { now: NOW + 2 * DAY })).toMatchObject({ path: `${dir}/root.crl`, number: 3 });
  });

  it('revokes nothing that the root has not issued', async () => {
    const dir = `${tempFolder()}/ca`;
    await initialiseAuthority(dir, { now: NOW });
    await expect(signRootCrl(dir, { revoke: newSerial() })).rejects.toThrow(/no intermediate of this root/);
  });
});
