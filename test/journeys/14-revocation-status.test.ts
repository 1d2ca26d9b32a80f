import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseCertificate } from '#ca/pkix/certificate.ts';
import { formatPem, parsePem } from '#ca/pkix/pem.ts';
import { parseCrl } from '#ca/revocation/parse-crl.ts';
import { STATUS_PATHS } from '#gateway/contract/status-paths.ts';
import type { Credential } from '#test/fixtures/mqtt/authority.ts';
import { enrollByHand } from '#test/fixtures/processes/device-credential.ts';
import { eventually } from '#test/fixtures/processes/eventually.ts';
import { type GatewayProcess, startGateway } from '#test/fixtures/processes/gateway-process.ts';
import { openssl } from '#test/fixtures/processes/openssl.ts';
import { lacks } from '#test/fixtures/processes/outside-tools.ts';
import { run, runOk } from '#test/fixtures/processes/program.ts';

const SHARDS = 3;

function namesLocalhost(list: Buffer): boolean {
  return list.includes(Buffer.from('//localhost:'));
}

/** Where the certificate itself says that its list is. */
function listUrlIn(certificate: Credential): string {
  const url = /http:\/\/[\w.:]+\/crl\/[\w-]+\.crl/.exec(certificate.der.toString('latin1'))?.[0];
  return url ?? '';
}

describe.skipIf(lacks('openssl', 'certtool', 'ocsptool'))('status of certificates, as other programs see it', () => {
  let gateway: GatewayProcess;
  let root: string;
  let intermediate: string;
  let good: Credential;
  let revoked: Credential;

  beforeAll(async () => {
    gateway = await startGateway({ args: ['--crl-shards', String(SHARDS)] });
    root = gateway.ready.rootPem;
    intermediate = join(gateway.dataDir, 'ca', 'intermediate.pem');
    good = await enrollByHand(gateway, 'good-1');
    revoked = await enrollByHand(gateway, 'revoked-1');
    await writeFile(file('good.pem'), good.pem);
    await writeFile(file('revoked.pem'), revoked.pem);
    await gateway.gatehouse('device', 'revoke', 'revoked-1', '--reason', 'keyCompromise');
    await eventually(
      'the revocation on the CRL',
      async () => parseCrl(await fetchList(STATUS_PATHS.crl)).revoked.has(revoked.serial),
      (isListed) => isListed,
    );
  });
  afterAll(() => gateway?.dispose());

  const file = (name: string) => join(gateway.folder, name);

  async function fetchList(path: string): Promise<Buffer> {
    const answer = await fetch(new URL(path, gateway.ready.status.url));
    if (answer.status !== 200) throw new Error(`${path}: ${answer.status}`);
    return Buffer.from(await answer.arrayBuffer());
  }

  async function verify(certificate: string, ...lists: Buffer[]) {
    const options: string[] = [];
    for (const [index, list] of lists.entries()) {
      const path = file(`list-${index}.pem`);
      await writeFile(path, formatPem('X509 CRL', list));
      options.push('-CRLfile', path);
    }
    const args = ['verify', '-x509_strict', '-crl_check', ...options, '-CAfile', root, '-untrusted', intermediate];
    const result = await run('openssl', [...args, file(certificate)]);
    return { ok: result.code === 0, said: result.stdout + result.stderr };
  }

  test('openssl judges by the shard that a certificate names, and by no other', async () => {
    for (const [name, certificate, ok] of [
      ['good.pem', good, true],
      ['revoked.pem', revoked, false],
    ] as const) {
      const url = listUrlIn(certificate);
      expect(url).toMatch(/\/crl\/shard-3-[0-2]\.crl$/);
      const shard = Buffer.from(await (await fetch(url)).arrayBuffer());
      // RFC 5280 5.2.5: the very octets of the certificate's distribution point.
      expect(shard.includes(Buffer.from(url))).toBe(true);
      const verdict = await verify(name, shard);
      expect(verdict.ok).toBe(ok);
      if (!ok) expect(verdict.said).toContain('certificate revoked');
      const index = Number(/-(\d)\.crl$/.exec(url)?.[1]);
      const other = await fetchList(`/crl/shard-${SHARDS}-${(index + 1) % SHARDS}.crl`);
      expect((await verify(name, other)).said).toMatch(/different CRL scope/i);
    }
    const printed = await openssl(['crl', '-inform', 'DER', '-noout', '-text'], await fetchList('/crl/shard-3-0.crl'));
    expect(printed).toMatch(/Issuing Distribution Point: critical\s+Full Name:\s+URI:http\S+\s+Only User Certificates/);
  });

  test('openssl judges by the complete list too, and the whole chain with that of the root', async () => {
    const full = await fetchList(STATUS_PATHS.crl);
    expect((await verify('good.pem', full)).ok).toBe(true);
    expect((await verify('revoked.pem', full)).said).toContain('certificate revoked');
    const rootList = await fetchList(STATUS_PATHS.rootCrl);
    for (const [name, list] of [
      ['full.pem', full],
      ['root-crl.pem', rootList],
    ] as const) {
      await writeFile(file(name), formatPem('X509 CRL', list));
    }
    const lists = ['-CRLfile', file('full.pem'), '-CRLfile', file('root-crl.pem')];
    const chain = ['-CAfile', root, '-untrusted', intermediate];
    const result = await run('openssl', ['verify', '-crl_check_all', ...lists, ...chain, file('good.pem')]);
    expect(result.stdout).toContain('OK');
  });

  test('openssl applies the delta list to an older complete one', async () => {
    const before = await fetchList(STATUS_PATHS.crl);
    const device = await enrollByHand(gateway, 'delta-1');
    await writeFile(file('delta.pem'), device.pem);
    await gateway.gatehouse('device', 'revoke', 'delta-1', '--reason', 'superseded');
    const delta = await eventually(
      'the revocation on the delta list',
      () => fetchList(STATUS_PATHS.deltaCrl),
      (list) => list.includes(Buffer.from(device.serial, 'hex')),
    );
    const printed = await openssl(['crl', '-inform', 'DER', '-noout', '-text', '-CAfile', intermediate], delta);
    expect(printed).toMatch(/Delta CRL Indicator: critical/);
    expect(printed).toContain('verify OK');
    const full = await openssl(['crl', '-inform', 'DER', '-noout', '-text'], before);
    expect(full).toMatch(/Freshest CRL:\s+Full Name:\s+URI:http\S+\/crl\/delta.crl/);
    await writeFile(file('before.pem'), formatPem('X509 CRL', before));
    await writeFile(file('delta-list.pem'), formatPem('X509 CRL', delta));
    const check = ['verify', '-crl_check', '-CRLfile', file('before.pem'), '-CAfile', root, '-untrusted', intermediate];
    expect((await run('openssl', [...check, file('delta.pem')])).code).toBe(0);
    const withDelta = [...check, '-extended_crl', '-use_deltas', '-CRLfile', file('delta-list.pem'), file('delta.pem')];
    expect((await run('openssl', withDelta)).stderr).toContain('certificate revoked');
  });

  test('certtool reads and verifies all of them', async () => {
    for (const path of [STATUS_PATHS.crl, STATUS_PATHS.deltaCrl, '/crl/shard-3-1.crl', STATUS_PATHS.rootCrl]) {
      await writeFile(file('one.pem'), formatPem('X509 CRL', await fetchList(path)));
      const issuer = path === STATUS_PATHS.rootCrl ? root : intermediate;
      const args = ['--verify-crl', '--load-ca-certificate', issuer, '--infile', file('one.pem')];
      const { stdout } = await runOk('certtool', args);
      // It knows neither delta lists nor shards, whose extensions are critical.
      if (path === STATUS_PATHS.crl || path === STATUS_PATHS.rootCrl) expect(stdout).toMatch(/Verified/);
    }
  });

  async function askOpenssl(certificate: string, ...options: string[]): Promise<string> {
    const ids = ['-issuer', intermediate, ...options, '-cert', file(certificate)];
    const url = ['-url', `${gateway.ready.status.url}${STATUS_PATHS.ocsp}`];
    // The answer must verify with the root alone: the responder's certificate comes with it.
    const trust = ['-CAfile', root, '-verify_other', intermediate];
    return openssl(['ocsp', ...ids, ...url, ...trust, '-text']);
  }

  test.each([
    ['SHA-1 and nonce', []],
    ['SHA-1, no nonce', ['-no_nonce']],
    ['SHA-256 and nonce', ['-sha256']],
    ['SHA-256, no nonce', ['-sha256', '-no_nonce']],
  ])('openssl ocsp gets good and revoked with %s', async (_how, options) => {
    const first = await askOpenssl('good.pem', ...options);
    expect(first).toContain('Response verify OK');
    expect(first).toMatch(/good\.pem: good/);
    expect(first).not.toContain('WARNING: no nonce in response');
    const second = await askOpenssl('revoked.pem', ...options);
    expect(second).toMatch(/revoked\.pem: revoked/);
    expect(second).toContain('Reason: keyCompromise');
    expect(second).toMatch(/OCSP No Check|OCSP Signing/);
  });

  test('openssl ocsp gets several answers at once, and unknown for what was never issued', async () => {
    const serials = ['-serial', `0x${'11'.repeat(16)}`];
    const both = await askOpenssl('good.pem', '-cert', file('revoked.pem'), ...serials);
    expect(both).toContain('Response verify OK');
    expect(both).toMatch(/good\.pem: good/);
    expect(both).toMatch(/revoked\.pem: revoked/);
    expect(both).toMatch(/: unknown/);
  });

  test('ocsptool gets the same', async () => {
    for (const [name, status] of [
      ['good.pem', 'good'],
      ['revoked.pem', 'revoked'],
    ] as const) {
      const url = `${gateway.ready.status.url}${STATUS_PATHS.ocsp}`;
      const load = ['--load-cert', file(name), '--load-issuer', intermediate, '--load-trust', intermediate];
      const { stdout, stderr } = await run('ocsptool', [`--ask=${url}`, ...load, '--nonce']);
      expect(stdout + stderr).toMatch(new RegExp(`Certificate Status: ${status}`));
      expect(stdout + stderr).toMatch(/Verifying OCSP Response: Success/);
    }
  });

  test('curl gets a kept answer with GET, which caches may keep for a while', async () => {
    await openssl(['ocsp', '-issuer', intermediate, '-cert', file('good.pem'), '-no_nonce', '-reqout', file('q.der')]);
    const path = encodeURIComponent((await readFile(file('q.der'))).toString('base64'));
    const url = `${gateway.ready.status.url}${STATUS_PATHS.ocsp}/${path}`;
    const answer = await fetch(url);
    expect(answer.headers.get('content-type')).toBe('application/ocsp-response');
    expect(answer.headers.get('cache-control')).toMatch(/^public, max-age=\d+, no-transform, must-revalidate$/);
    const tag = answer.headers.get('etag') ?? '';
    await writeFile(file('a.der'), Buffer.from(await answer.arrayBuffer()));
    const read = ['ocsp', '-respin', file('a.der'), '-issuer', intermediate, '-cert', file('good.pem')];
    expect(await openssl([...read, '-CAfile', root, '-verify_other', intermediate])).toMatch(/good\.pem: good/);
    expect((await fetch(url, { headers: { 'If-None-Match': tag } })).status).toBe(304);
  });

  test('a hold shows on CRL and OCSP, and its end too', async () => {
    const device = await enrollByHand(gateway, 'held-1');
    await writeFile(file('held.pem'), device.pem);
    expect(await askOpenssl('held.pem', '-no_nonce')).toMatch(/held\.pem: good/);
    await gateway.gatehouse('device', 'hold', 'held-1', '--reason', 'lost, being looked for');
    expect(await askOpenssl('held.pem', '-no_nonce')).toContain('Reason: certificateHold');
    const onList = async () => parseCrl(await fetchList(STATUS_PATHS.crl)).revoked.get(device.serial)?.reason;
    await eventually('the hold on the CRL', onList, (reason) => reason === 'certificateHold');
    await gateway.gatehouse('device', 'release', 'held-1');
    expect(await askOpenssl('held.pem', '-no_nonce')).toMatch(/held\.pem: good/);
    await eventually('the end of the hold on the CRL', onList, (reason) => reason === undefined);
  });

  test('a group of short lives gets certificates that say that there is no status', async () => {
    await gateway.command(
      'group',
      'add',
      'short',
      '--lifetime',
      '1h',
      '--overlap',
      '10m',
      '--without-status-below',
      '1d',
    );
    const device = await enrollByHand(gateway, 'short-1', { group: 'short' });
    const printed = await openssl(['x509', '-inform', 'DER', '-noout', '-text'], device.der);
    expect(printed).toMatch(/2\.5\.29\.56|No Revocation Available/);
    expect(printed).not.toContain('CRL Distribution');
    expect(printed).not.toContain('OCSP - URI');
    expect(printed).toContain('CA Issuers - URI');
    await gateway.gatehouse('device', 'revoke', 'short-1', '--reason', 'keyCompromise');
    const marker = await enrollByHand(gateway, 'marker-1');
    await gateway.gatehouse('device', 'revoke', 'marker-1', '--reason', 'keyCompromise');
    const list = await eventually(
      'a later revocation on the CRL',
      async () => parseCrl(await fetchList(STATUS_PATHS.crl)),
      ({ revoked }) => revoked.has(marker.serial),
    );
    expect(list.revoked.has(device.serial)).toBe(false);
  });

  test('the list of the root is renewed with its key, and served at once', async () => {
    const before = parseCrl(await fetchList(STATUS_PATHS.rootCrl));
    expect(before).toMatchObject({ number: 1 });
    const [der = Buffer.alloc(0)] = parsePem(await readFile(intermediate, 'utf8'), 'CERTIFICATE');
    const { serial } = parseCertificate(der);
    const made = await gateway.gatehouse<{ number: number }>('ca', 'crl', '--revoke', serial, '--reason', 'superseded');
    expect(made).toMatchObject({ number: 2, revoked: [serial] });
    const after = await eventually(
      'the new list of the root',
      async () => parseCrl(await fetchList(STATUS_PATHS.rootCrl)),
      ({ number }) => number === 2,
    );
    expect([...after.revoked.keys()]).toEqual([serial]);
    const wrong = await gateway.command('ca', 'crl', '--revoke', '1234');
    expect(wrong.code).not.toBe(0);
    expect(wrong.stderr).toContain('no intermediate of this root has the serial 1234');
  });

  test('lists and OCSP go on after the gateway was killed', async () => {
    const url = new URL(listUrlIn(revoked)).pathname;
    const number = parseCrl(await fetchList(STATUS_PATHS.crl)).number;
    await gateway.kill9();
    await gateway.restart();
    expect(parseCrl(await fetchList(STATUS_PATHS.crl)).number).toBeGreaterThanOrEqual(number);
    expect((await fetchList(url)).includes(Buffer.from(revoked.serial, 'hex'))).toBe(true);
    expect(await askOpenssl('revoked.pem')).toMatch(/revoked\.pem: revoked/);
  });

  test('openssl goes on judging by shards when the gateway is found under another name', async () => {
    await gateway.stop();
    await gateway.restart(['--crl-shards', String(SHARDS), '--public-host', 'localhost']);
    expect(gateway.ready.status.url).toMatch(/^http:\/\/localhost:/);
    const moved = await enrollByHand(gateway, 'moved-1');
    await writeFile(file('moved.pem'), moved.pem);
    expect(listUrlIn(moved)).toContain('//localhost:');
    // It is made again at the start: until then certificates of now would not fit it.
    const shardOf = (certificate: Credential) =>
      eventually(
        'the shard that names both',
        () => fetchList(new URL(listUrlIn(certificate)).pathname),
        namesLocalhost,
      );
    expect((await verify('good.pem', await shardOf(good))).said).toContain('OK');
    expect((await verify('revoked.pem', await shardOf(revoked))).said).toContain('certificate revoked');
    expect((await verify('moved.pem', await shardOf(moved))).said).toContain('OK');
  });
});
