import { X509Certificate } from 'node:crypto';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type GatewayProcess, startGateway } from '#test/fixtures/processes/gateway-process.ts';
import { lacks } from '#test/fixtures/processes/outside-tools.ts';
import { run, runOk } from '#test/fixtures/processes/program.ts';

describe.skipIf(lacks('pki', 'openssl'))("a device enrolls with strongSwan's pki", () => {
  let gateway: GatewayProcess;
  let folder: string;
  let authorities: string[];
  const path = (name: string) => join(folder, name);
  beforeAll(async () => {
    gateway = await startGateway();
    folder = join(gateway.folder, 'swan');
    await mkdir(folder);
    authorities = [gateway.ready.rootPem, join(gateway.dataDir, 'ca', 'intermediate.pem')].flatMap((file) => [
      '--cacert',
      file,
    ]);
  });
  afterAll(() => gateway?.dispose());

  async function request(name: string, kind: string[], ...names: string[]): Promise<void> {
    await writeFile(path(`${name}.key`), (await pki('--gen', ...kind, '--outform', 'pem')).bytes, { mode: 0o600 });
    const type = kind[1] ?? '';
    const csr = await pki('--req', '--type', type, '--in', path(`${name}.key`), ...names);
    await writeFile(path(`${name}.csr`), csr.bytes);
  }

  function est(name: string, ...more: string[]) {
    const args = ['--est', '--url', gateway.ready.est.url, '--in', path(`${name}.csr`), ...authorities, ...more];
    return run('pki', args);
  }

  test('which fetches the CA certificates', async () => {
    const out = ['--caout', path('ca.pem'), '--outform', 'pem'];
    await pki('--estca', '--url', gateway.ready.est.url, '--cacert', gateway.ready.rootPem, ...out);
    const files = (await readdir(folder)).filter((name) => /^ca.*\.pem$/.test(name));
    const fetched = await Promise.all(files.map(async (name) => new X509Certificate(await readFile(path(name)))));
    const own = await Promise.all(
      ['root.pem', 'intermediate.pem'].map(
        async (name) => new X509Certificate(await readFile(join(gateway.dataDir, 'ca', name))),
      ),
    );
    expect(fetched.map((certificate) => certificate.fingerprint256).sort()).toEqual(
      own.map((certificate) => certificate.fingerprint256).sort(),
    );
  });

  test.each([
    ['ECDSA P-256', ['--type', 'ecdsa', '--size', '256']],
    ['RSA 2048', ['--type', 'rsa', '--size', '2048']],
  ])('which enrolls an %s key with a ticket, and renews with the certificate', async (_, kind) => {
    const deviceId = `swan-${kind[1]}`;
    const { ticket } = await gateway.addDevice(deviceId);
    await request('first', kind, '--dn', `CN=${deviceId}`);
    const enrolled = await est('first', '--userpass', `${deviceId}:${ticket}`);
    expect(enrolled.code, enrolled.stderr).toBe(0);
    const first = new X509Certificate(enrolled.bytes);
    const name = `spiffe://gatehouse.internal/device/${deviceId}`;
    expect([first.subject, first.subjectAltName]).toEqual([`CN=${deviceId}`, `URI:${name}`]);

    await writeFile(path('first.crt'), enrolled.bytes);
    const identity = ['--cert', path('first.crt'), '--key', path('first.key')];
    // pki 5.9 writes no URI into a request of its own: the CSR for the renewal comes from openssl.
    const subject = ['-subj', `/CN=${deviceId}`, '-addext', `subjectAltName=URI:${name}`];
    const csr = ['req', '-new', '-key', path('first.key'), ...subject, '-outform', 'DER'];
    await runOk('openssl', [...csr, '-out', path('second.csr')]);
    const renewed = await est('second', ...identity);
    expect(renewed.code, renewed.stderr).toBe(0);
    const second = new X509Certificate(renewed.bytes);
    expect([second.subject, second.subjectAltName]).toEqual([`CN=${deviceId}`, `URI:${name}`]);
    expect(second.serialNumber).not.toBe(first.serialNumber);
  });

  test('whose own request for a renewal lacks the name, and is refused with the reason', async () => {
    const { ticket } = await gateway.addDevice('swan-own');
    const kind = ['--type', 'ecdsa', '--size', '256'];
    await request('own', kind, '--dn', 'CN=swan-own');
    await writeFile(path('own.crt'), (await est('own', '--userpass', `swan-own:${ticket}`)).bytes);
    const mark = gateway.mark();
    const renewed = await est('own', '--cert', path('own.crt'), '--key', path('own.key'));
    expect(renewed.stderr).toContain('EST request failed: HTTP 403');
    await gateway.logged('enrollment refused', { code: 'IDENTITY_MISMATCH', deviceId: 'swan-own' }, mark);
  });

  test('which is refused with a wrong ticket, and the reason is in the log', async () => {
    await gateway.addDevice('swan-wrong');
    await request('wrong', ['--type', 'ecdsa', '--size', '256'], '--dn', 'CN=swan-wrong');
    const mark = gateway.mark();
    const refused = await est('wrong', '--userpass', 'swan-wrong:0123456789');
    expect(refused.code).not.toBe(0);
    expect(refused.bytes).toHaveLength(0);
    await gateway.logged('enrollment refused', { code: 'TICKET_UNKNOWN' }, mark);
  });
});

function pki(...args: string[]) {
  return runOk('pki', args);
}
