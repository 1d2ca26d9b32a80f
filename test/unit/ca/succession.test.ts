import { execFileSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import { describe, expect, it, onTestFinished } from 'vitest';
import { readAuthorityFolder } from '#ca/ceremony/authority-folder.ts';
import { initialiseAuthority } from '#ca/ceremony/initialise-authority.ts';
import { prepareSuccessor } from '#ca/ceremony/prepare-successor.ts';
import { signRootCrl } from '#ca/ceremony/sign-root-crl.ts';
import { type Certificate, parseCertificate } from '#ca/pkix/certificate.ts';
import { validatePath } from '#ca/pkix/path.ts';
import { formatPem } from '#ca/pkix/pem.ts';
import { formatRevokedEntry } from '#ca/revocation/crl.ts';
import { serveAuthority } from '#ca/serve-authority.ts';
import { connectAuthority } from '#ca/socket/authority-client.ts';
import { deviceOrder, newSerial, serverOrder } from '#test/fixtures/ca/authority.ts';
import { makeKey } from '#test/fixtures/ca/keys.ts';
import { tempFolder } from '#test/fixtures/ca/temp-folder.ts';

const log = pino({ enabled: false });
const STATUS_URL = 'http://gate.example:8080';

async function newAuthority() {
  const folder = tempFolder();
  const dir = join(folder, 'ca');
  await initialiseAuthority(dir, { organization: 'Plant' });
  return { folder, dir, socket: join(folder, 'a.sock') };
}

async function serve({ dir, socket }: { dir: string; socket: string }, options: { crlShards?: number } = {}) {
  const running = await serveAuthority({ dir, socket, statusUrl: STATUS_URL, log, onBroken: () => {}, ...options });
  const authority = connectAuthority(socket);
  let open = true;
  const stop = async () => {
    if (!open) return;
    open = false;
    await authority.close();
    await running.close();
  };
  onTestFinished(stop);
  return { authority, stop };
}

function pathTo(leaf: Certificate, chain: Buffer[], anchor: Buffer): string[] {
  const intermediates = chain.map((der) => parseCertificate(der));
  return validatePath(leaf, { intermediates, anchors: [parseCertificate(anchor)] }).map(({ sha256 }) => sha256);
}

/** openssl's own verdict. @throws when it finds no path */
function opensslVerify(leaf: Buffer, untrusted: readonly Buffer[], anchor: Buffer, ...more: string[]): void {
  const folder = tempFolder();
  const write = (name: string, ders: readonly Buffer[]) => {
    const path = join(folder, name);
    writeFileSync(path, ders.map((der) => formatPem('CERTIFICATE', der)).join(''));
    return path;
  };
  const args = ['verify', '-x509_strict', '-no-CApath', '-CAfile', write('anchor.pem', [anchor])];
  if (untrusted.length > 0) args.push('-untrusted', write('untrusted.pem', untrusted));
  execFileSync('openssl', [...args, ...more, write('leaf.pem', [leaf])], { stdio: 'pipe' });
}

const text = ({ der }: Certificate) => der.toString('latin1');

describe('the next intermediate', () => {
  it('is made beside the first, below the same root, and nothing uses it yet', async () => {
    const { dir } = await newAuthority();
    const before = await readAuthorityFolder(dir);
    const made = await prepareSuccessor(dir, { algorithm: 'ec-p384' });
    expect(made).toMatchObject({ number: 2, isNewRoot: false, rootSha256: before.root.sha256 });
    const after = await readAuthorityFolder(dir);
    expect(after.intermediate.sha256).toBe(before.intermediate.sha256);
    expect(after.generations.map(({ number }) => number)).toEqual([1, 2]);
    const second = after.generations[1]?.intermediate;
    expect(second).toMatchObject({
      pathLength: 0,
      authorityKeyId: before.root.subjectKeyId,
      sha256: made.intermediateSha256,
    });
    const modes = Object.fromEntries(
      readdirSync(made.dir).map((name) => [name, statSync(join(made.dir, name)).mode & 0o777]),
    );
    expect(modes).toEqual({
      'intermediate.key.pem': 0o600,
      'intermediate.pem': 0o644,
      passphrase: 0o600,
      'root.pem': 0o644,
    });
    expect(statSync(made.dir).mode & 0o777).toBe(0o700);
  });

  it('needs the root key: without it the refusal says where to bring it from, and nothing is there', async () => {
    const { dir, folder } = await newAuthority();
    cpSync(join(dir, 'root.key.pem'), join(folder, 'stick.pem'));
    rmSync(join(dir, 'root.key.pem'));
    await expect(prepareSuccessor(dir)).rejects.toThrow(/--root-key-file/);
    expect(existsSync(join(dir, 'generations'))).toBe(false);
    const made = await prepareSuccessor(dir, { rootKeyFile: join(folder, 'stick.pem') });
    expect(made.number).toBe(2);
  });

  it('is not made with the key of another root', async () => {
    const { dir } = await newAuthority();
    const other = await newAuthority();
    await expect(
      prepareSuccessor(dir, {
        rootKeyFile: join(other.dir, 'root.key.pem'),
        rootPassphraseFile: join(other.dir, 'root-passphrase'),
      }),
    ).rejects.toThrow(/not the key of the root in use/);
  });

  it('waits until the one prepared before is in use', async () => {
    const { dir } = await newAuthority();
    await prepareSuccessor(dir);
    await expect(prepareSuccessor(dir)).rejects.toThrow(/generation 2 is prepared and not in use yet/);
  });

  it('gets no passphrase beside its key where the first one has none', async () => {
    const { dir, folder } = await newAuthority();
    const elsewhere = join(folder, 'credential');
    writeFileSync(elsewhere, readFileSync(join(dir, 'passphrase')), { mode: 0o600 });
    rmSync(join(dir, 'passphrase'));
    await expect(prepareSuccessor(dir)).rejects.toThrow(/--passphrase-file/);
    const made = await prepareSuccessor(dir, { passphraseFile: elsewhere });
    expect(existsSync(join(made.dir, 'passphrase'))).toBe(false);
  });

  it('is not taken for one when its folder was left half made', async () => {
    const { dir } = await newAuthority();
    await prepareSuccessor(dir);
    mkdirSync(join(dir, 'generations', '.3.making-abcdef'));
    expect((await readAuthorityFolder(dir)).generations).toHaveLength(2);
  });
});

describe('the next root', () => {
  it('is linked to the one before, both ways, as openssl and we see it', async () => {
    const { dir } = await newAuthority();
    await prepareSuccessor(dir, { root: true });
    const [first, second] = (await readAuthorityFolder(dir)).generations;
    if (!first || !second?.newWithOld || !second.oldWithNew) throw new Error('two generations and two links');
    const { newWithOld, oldWithNew } = second;
    expect(newWithOld.publicKey).toEqual(second.root.publicKey);
    expect(newWithOld.subject).toEqual(second.root.subject);
    expect(newWithOld.notBefore).toBe(second.root.notBefore);
    expect(newWithOld.notAfter).toBe(Math.min(first.root.notAfter, second.root.notAfter));
    expect([oldWithNew.notBefore, oldWithNew.notAfter]).toEqual([first.root.notBefore, first.root.notAfter]);
    // Who knows only the old root, and who knows only the new one.
    expect(pathTo(second.intermediate, [newWithOld.der], first.root.der)).toEqual([
      second.intermediate.sha256,
      newWithOld.sha256,
      first.root.sha256,
    ]);
    expect(pathTo(first.intermediate, [oldWithNew.der], second.root.der)).toHaveLength(3);
    opensslVerify(second.intermediate.der, [newWithOld.der], first.root.der);
    opensslVerify(first.intermediate.der, [oldWithNew.der], second.root.der);
    expect(() => opensslVerify(second.intermediate.der, [], first.root.der)).toThrow();
  });
});

describe('a prepared generation that is given up', () => {
  it('goes with its keys; its certificate stays, can be revoked, and another one takes its number', async () => {
    const place = await newAuthority();
    const { authority } = await serve(place);
    const unwanted = await prepareSuccessor(place.dir, { root: true });
    expect((await authority.describe()).issuers).toHaveLength(2);
    const { issuers } = await authority.discardIssuer(unwanted.keyId);
    expect(issuers).toMatchObject([{ isActive: true }]);
    expect((await authority.discardIssuer(unwanted.keyId)).issuers).toHaveLength(1);
    const aside = join(place.dir, 'generations', `discarded-2-${unwanted.keyId}`);
    expect(readdirSync(aside).toSorted()).toEqual([
      'intermediate.pem',
      'new-with-old.pem',
      'old-with-new.pem',
      'root.crl',
      'root.pem',
    ]);

    const next = await prepareSuccessor(place.dir);
    expect(next.number).toBe(2);
    expect((await authority.activateIssuer(next.keyId)).issuers).toMatchObject([
      {},
      { keyId: next.keyId, isActive: true },
    ]);
    await expect(authority.discardIssuer(next.keyId)).rejects.toMatchObject({ code: 'ISSUER_REFUSED' });
    const [first] = (await authority.describe()).issuers ?? [];
    await expect(authority.discardIssuer(first?.keyId ?? '')).rejects.toMatchObject({ code: 'ISSUER_REFUSED' });
  });

  it('of the root in use, can be revoked by it', async () => {
    const place = await newAuthority();
    const { authority } = await serve(place);
    const unwanted = await prepareSuccessor(place.dir);
    const [, issuer] = (await authority.describe()).issuers ?? [];
    await authority.discardIssuer(unwanted.keyId);
    const { serial } = parseCertificate(issuer?.certificate ?? Buffer.alloc(0));
    expect(await signRootCrl(place.dir, { revoke: serial, reason: 'cACompromise' })).toMatchObject({
      revoked: [serial],
    });
  });

  it('leaves no key behind when the power goes between the two steps', async () => {
    const place = await newAuthority();
    const unwanted = await prepareSuccessor(place.dir);
    const aside = join(place.dir, 'generations', `discarded-2-${unwanted.keyId}`);
    renameSync(unwanted.dir, aside);
    const { authority } = await serve(place);
    expect((await authority.describe()).issuers).toHaveLength(1);
    expect(readdirSync(aside).toSorted()).toEqual(['intermediate.pem', 'root.pem']);
  });
});

describe('an authority with a successor', () => {
  it('finds what a ceremony adds while it runs, issues with it when told, and still signs lists of both', async () => {
    const place = await newAuthority();
    const { authority, stop } = await serve(place);
    const first = (await authority.describe()).issuers?.[0];
    const oldLeaf = parseCertificate(await authority.issue(deviceOrder()));
    const made = await prepareSuccessor(place.dir, { root: true });
    const seen = await authority.describe();
    expect(seen.issuers?.map(({ keyId, isActive }) => [keyId, isActive])).toEqual([
      [first?.keyId, true],
      [made.keyId, false],
    ]);
    expect(parseCertificate(await authority.issue(deviceOrder())).authorityKeyId).toBe(first?.keyId);

    const activated = await authority.activateIssuer(made.keyId);
    expect(parseCertificate(activated.intermediateCertificate).sha256).toBe(made.intermediateSha256);
    expect(parseCertificate(activated.rootCertificate).sha256).toBe(made.rootSha256);
    const leaf = parseCertificate(await authority.issue(serverOrder()));
    expect(leaf.authorityKeyId).toBe(made.keyId);
    const [newWithOld] = activated.issuers?.[1]?.crossCertificates ?? [];
    if (!first || !newWithOld) throw new Error('no link to the old root');
    const chain = [activated.intermediateCertificate, newWithOld];
    opensslVerify(leaf.der, chain, first.root, '-purpose', 'sslserver');
    opensslVerify(leaf.der, chain, activated.rootCertificate, '-purpose', 'sslserver');
    opensslVerify(oldLeaf.der, [first.certificate], first.root);

    const now = Math.floor(Date.now() / 1000) * 1000;
    const times = { thisUpdate: now, nextUpdate: now + 3_600_000, entries: Buffer.alloc(0) };
    const ofNew = await authority.signCrl({ number: 1, ...times });
    const ofOld = await authority.signCrl({ number: 2, ...times, issuerKeyId: first.keyId });
    for (const [crl, issuer] of [
      [ofNew, activated.intermediateCertificate],
      [ofOld, first.certificate],
    ] as const) {
      const folder = tempFolder();
      writeFileSync(join(folder, 'crl.der'), crl);
      writeFileSync(join(folder, 'ca.pem'), formatPem('CERTIFICATE', issuer));
      const args = [
        'crl',
        '-in',
        join(folder, 'crl.der'),
        '-inform',
        'DER',
        '-noout',
        '-verify',
        '-CAfile',
        join(folder, 'ca.pem'),
      ];
      execFileSync('openssl', args, { stdio: 'pipe' });
    }
    await stop();
    // Also after a restart, and the files that others look at say so, too.
    const again = await serve(place);
    expect(parseCertificate(await again.authority.issue(deviceOrder())).authorityKeyId).toBe(made.keyId);
    const { root, intermediate } = await readAuthorityFolder(place.dir);
    expect(readFileSync(join(place.dir, 'root.pem'), 'utf8')).toBe(formatPem('CERTIFICATE', root.der));
    expect(readFileSync(join(place.dir, 'intermediate.pem'), 'utf8')).toBe(formatPem('CERTIFICATE', intermediate.der));
    expect(root.sha256).toBe(made.rootSha256);
  });

  it('puts the paths of each issuer into what it issues: the first keeps those it had', async () => {
    const place = await newAuthority();
    const { authority } = await serve(place);
    const oldLeaf = parseCertificate(await authority.issue(deviceOrder()));
    const { keyId } = await prepareSuccessor(place.dir);
    await authority.activateIssuer(keyId);
    const leaf = parseCertificate(await authority.issue(deviceOrder()));

    expect(text(oldLeaf)).toContain(`${STATUS_URL}/crl/intermediate.crl`);
    expect(text(leaf)).toContain(`${STATUS_URL}/crl/${keyId}.crl`);
    expect(text(leaf)).toContain(`${STATUS_URL}/ca/${keyId}.cer`);
    expect(text(leaf)).not.toContain('intermediate');
  });

  it('spreads what the next one issues over lists of its own', async () => {
    const place = await newAuthority();
    const { authority } = await serve(place, { crlShards: 4 });
    const { keyId } = await prepareSuccessor(place.dir);
    const { rootCertificate, intermediateCertificate } = await authority.activateIssuer(keyId);
    const order = deviceOrder();
    const leaf = parseCertificate(await authority.issue(order));
    const index = Number.parseInt(order.serial.slice(-8), 16) % 4;
    expect(text(leaf)).toContain(`${STATUS_URL}/crl/${keyId}-shard-4-${index}.crl`);
    const now = Math.floor(Date.now() / 1000) * 1000;
    const list = await authority.signCrl({
      scope: { kind: 'shard', index, count: 4 },
      number: 1,
      thisUpdate: now,
      nextUpdate: now + 3_600_000,
      entries: formatRevokedEntry({ serial: order.serial, revokedAt: now, reason: 'keyCompromise' }),
    });
    const path = join(tempFolder(), 'crl.pem');
    writeFileSync(path, formatPem('X509 CRL', list));
    // 23: revoked; with a list that does not cover it this would be 44, a different scope.
    expect(() =>
      opensslVerify(leaf.der, [intermediateCertificate], rootCertificate, '-crl_check', '-CRLfile', path),
    ).toThrow(/error 23 at 0 depth/);
  });

  it('does not go back to an older one, knows no other, and takes the same order twice', async () => {
    const place = await newAuthority();
    const { authority } = await serve(place);
    const first = (await authority.describe()).issuers?.[0]?.keyId ?? '';
    const { keyId } = await prepareSuccessor(place.dir);
    await authority.activateIssuer(keyId);
    await authority.activateIssuer(keyId);
    await expect(authority.activateIssuer(first)).rejects.toMatchObject({ code: 'ISSUER_REFUSED' });
    await expect(authority.activateIssuer('ab'.repeat(20))).rejects.toMatchObject({ code: 'ISSUER_REFUSED' });
    const order = { ...deviceOrder(), lifetimeSeconds: 60 };
    expect(await authority.issue(order)).toEqual(await authority.issue(order));
  });

  it('appoints a responder of the issuer that is named, whoever issues now', async () => {
    const place = await newAuthority();
    const { authority } = await serve(place);
    const first = (await authority.describe()).issuers?.[0]?.keyId ?? '';
    const { keyId } = await prepareSuccessor(place.dir);
    await authority.activateIssuer(keyId);
    const order = {
      serial: newSerial(),
      publicKey: makeKey().spki,
      lifetimeSeconds: 3600,
      profile: 'ocsp-responder',
    } as const;
    expect(parseCertificate(await authority.issue(order)).authorityKeyId).toBe(keyId);
    const named = { ...order, serial: newSerial(), issuerKeyId: first };
    expect(parseCertificate(await authority.issue(named)).authorityKeyId).toBe(first);
    const nobody = { ...order, serial: newSerial(), issuerKeyId: 'ab'.repeat(20) };
    await expect(authority.issue(nobody)).rejects.toMatchObject({ code: 'ISSUER_REFUSED' });
  });

  it('starts after a power cut between the two steps of an activation, and mends what is shown', async () => {
    const place = await newAuthority();
    const { keyId } = await prepareSuccessor(place.dir, { root: true });
    // What is on the disk after the first step alone.
    writeFileSync(join(place.dir, 'issuing.json'), JSON.stringify({ version: 1, keyId }));
    const { authority } = await serve(place);
    const { root, intermediate } = await readAuthorityFolder(place.dir);
    expect(intermediate.subjectKeyId).toBe(keyId);
    expect(readFileSync(join(place.dir, 'root.pem'), 'utf8')).toBe(formatPem('CERTIFICATE', root.der));
    expect(parseCertificate(await authority.issue(deviceOrder())).authorityKeyId).toBe(keyId);
  });

  it('does not start when the issuer in use is not there', async () => {
    const place = await newAuthority();
    writeFileSync(join(place.dir, 'issuing.json'), JSON.stringify({ version: 1, keyId: 'ab'.repeat(20) }));
    await expect(serve(place)).rejects.toThrow(/the issuer in use/);
    writeFileSync(join(place.dir, 'issuing.json'), '{');
    await expect(serve(place)).rejects.toThrow(/does not name an issuer/);
  });

  it('goes on without the folder of one that is over, as long as another is in use', async () => {
    const place = await newAuthority();
    const { authority, stop } = await serve(place);
    const { keyId } = await prepareSuccessor(place.dir);
    await authority.activateIssuer(keyId);
    await stop();
    rmSync(join(place.dir, 'generations', '1'), { recursive: true });
    const again = await serve(place);
    const leaf = parseCertificate(await again.authority.issue(deviceOrder()));
    expect(leaf.der.toString('latin1')).toContain(`/crl/${keyId}.crl`);
  });
});
