import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Certificate, parseCertificate } from '#ca/pkix/certificate.ts';
import { parsePem } from '#ca/pkix/pem.ts';
import { parseCrl } from '#ca/revocation/parse-crl.ts';
import type { CertificateSummary } from '#gateway/contract/operator-api.ts';
import { STATUS_PATHS } from '#gateway/contract/status-paths.ts';
import { makeKey } from '#test/fixtures/ca/keys.ts';
import { certificateIn, enrollByHand, makeCsr } from '#test/fixtures/processes/device-credential.ts';
import { basic, postCsr } from '#test/fixtures/processes/est-exchange.ts';
import { eventually } from '#test/fixtures/processes/eventually.ts';
import { type GatewayProcess, startGateway } from '#test/fixtures/processes/gateway-process.ts';
import { openssl, verifyWithOpenssl } from '#test/fixtures/processes/openssl.ts';
import { lacks } from '#test/fixtures/processes/outside-tools.ts';
import { run } from '#test/fixtures/processes/program.ts';

const MINUTE = 60_000;
const DAY_SECONDS = 24 * 3600;

describe.skipIf(lacks('openssl'))('certificates and CRLs of a running gateway', () => {
  let gateway: GatewayProcess;
  let files: { root: string; intermediate: string };
  let intermediate: Certificate;
  beforeAll(async () => {
    gateway = await startGateway();
    files = { root: gateway.ready.rootPem, intermediate: join(gateway.dataDir, 'ca', 'intermediate.pem') };
    intermediate = await readCertificate(files.intermediate);
  });
  afterAll(() => gateway?.dispose());

  async function fetchCrl(): Promise<Buffer> {
    return Buffer.from(await (await fetch(new URL(STATUS_PATHS.crl, gateway.ready.status.url))).arrayBuffer());
  }

  test.each(['ec-p256', 'ec-p384', 'ed25519', 'rsa-2048', 'rsa-3072'] as const)(
    'openssl accepts, with -x509_strict, a device certificate for a key of %s',
    async (kind) => {
      const credential = await enrollByHand(gateway, `verified-${kind}`, { key: makeKey(kind) });
      expect(await verifyWithOpenssl(credential.pem, files)).toMatchObject({ ok: true });
      expect(await verifyWithOpenssl(credential.pem, { ...files, crl: await fetchCrl() })).toMatchObject({ ok: true });
      // It is for clients and for nothing else.
      const args = ['verify', '-purpose', 'sslserver', '-CAfile', files.root, '-untrusted', files.intermediate];
      const asServer = await run('openssl', args, { input: credential.pem });
      expect(asServer.stdout + asServer.stderr).toMatch(/unsuitable certificate purpose/);
    },
  );

  test('a device certificate has the form that RFC 5280 asks for', async () => {
    const body = { deviceId: 'formed-1', hardwareSerial: 'HW-1' };
    const { ticket } = await gateway.operator.call<{ ticket: string }>('addDevice', { body });
    const key = makeKey();
    const before = Date.now();
    const answer = await postCsr(gateway, 'simpleenroll', await makeCsr(key), { headers: basic('formed-1', ticket) });
    const der = certificateIn(answer);
    const certificate = parseCertificate(der);

    // 4.1.2.2: positive, at most 20 octets.
    expect(certificate.serial).toMatch(/^[0-7][0-9a-f]{1,39}$/);
    // 4.1.2.5: valid a little before now, for clocks that are late; never longer than its issuer.
    expect(before - certificate.notBefore).toBeGreaterThan(MINUTE);
    expect(before - certificate.notBefore).toBeLessThan(60 * MINUTE);
    expect(certificate.notAfter).toBeLessThanOrEqual(intermediate.notAfter);
    expect(Math.abs(certificate.notAfter - before - 7 * 24 * 60 * MINUTE)).toBeLessThan(60 * MINUTE);
    expect(certificate.publicKey.equals(key.spki)).toBe(true);

    const printed = await openssl(['x509', '-inform', 'DER', '-noout', '-text'], der);
    const extensions = extensionsIn(printed);
    expect(extensions).toMatchObject({
      'X509v3 Basic Constraints: critical': 'CA:FALSE',
      'X509v3 Key Usage: critical': 'Digital Signature',
      'X509v3 Extended Key Usage': 'TLS Web Client Authentication',
      'X509v3 Subject Alternative Name': 'URI:spiffe://gatehouse.internal/device/formed-1',
      'X509v3 CRL Distribution Points': expect.stringContaining(`URI:${gateway.ready.status.url}${STATUS_PATHS.crl}`),
    });
    const subject = await openssl(['x509', '-inform', 'DER', '-noout', '-subject', '-nameopt', 'RFC2253'], der);
    expect(subject).toContain('serialNumber=HW-1');
    expect(subject).toContain('CN=formed-1');
    // 4.2.1.1, 4.2.1.2: the chain is found by key identifiers, not by names.
    expect(certificate.authorityKeyId).toBe(intermediate.subjectKeyId);
    expect(certificate.subjectKeyId).toMatch(/^[0-9a-f]{40}$/);
    // DER: basicConstraints is the empty sequence, keyUsage the one bit.
    expect(der.includes(Buffer.from('0603551d130101ff04023000', 'hex'))).toBe(true);
    expect(der.includes(Buffer.from('0603551d0f0101ff040403020780', 'hex'))).toBe(true);
  });

  test('what a CSR asks for beyond its key is not in the certificate', async () => {
    const { ticket } = await gateway.addDevice('wishful-1');
    const wishes = [
      'extendedKeyUsage=serverAuth,codeSigning',
      'keyUsage=keyEncipherment,digitalSignature',
      'certificatePolicies=1.2.3.4',
    ];
    const args = [
      'req',
      '-new',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-keyout',
      '/dev/null',
    ];
    const csr = await run('openssl', [
      ...args,
      '-subj',
      '/CN=wishful-1',
      '-outform',
      'DER',
      ...wishes.flatMap((wish) => ['-addext', wish]),
    ]);
    expect(csr.code, csr.stderr).toBe(0);
    const answer = await postCsr(gateway, 'simpleenroll', csr.bytes, { headers: basic('wishful-1', ticket) });
    const extensions = extensionsIn(
      await openssl(['x509', '-inform', 'DER', '-noout', '-text'], certificateIn(answer)),
    );
    expect(extensions).toMatchObject({
      'X509v3 Key Usage: critical': 'Digital Signature',
      'X509v3 Extended Key Usage': 'TLS Web Client Authentication',
    });
    expect(Object.keys(extensions).join()).not.toContain('Policies');
  });

  test('a group that wants longer lives than the profile allows is refused when it is made, not when a device enrolls', async () => {
    await expect(gateway.addGroup('ancient', { lifetimeSeconds: 401 * DAY_SECONDS })).rejects.toThrow('400 days');
    await gateway.addGroup('old', { lifetimeSeconds: 400 * DAY_SECONDS });
    const { notAfter } = await enrollByHand(gateway, 'old-1', { group: 'old' });
    expect(notAfter).toBeLessThanOrEqual(intermediate.notAfter);
  });

  test('serial numbers do not follow each other', async () => {
    const list = await gateway.operator.list<CertificateSummary>('listCertificates');
    const serials = list.map(({ serial }) => serial);
    expect(new Set(serials).size).toBe(serials.length);
    expect(new Set(serials.map((serial) => serial.slice(0, 4))).size).toBeGreaterThan(serials.length / 2);
  });

  test('the intermediate may issue leaves and CRLs, and no further authority', async () => {
    const extensions = extensionsIn(await openssl(['x509', '-in', files.intermediate, '-noout', '-text']));
    expect(extensions).toMatchObject({
      'X509v3 Basic Constraints: critical': 'CA:TRUE, pathlen:0',
      'X509v3 Key Usage: critical': 'Certificate Sign, CRL Sign',
    });
    const root = await readCertificate(files.root);
    expect(intermediate.authorityKeyId).toBe(root.subjectKeyId);
    const verified = await openssl(['verify', '-x509_strict', '-CAfile', files.root, files.intermediate]);
    expect(verified).toContain('OK');
  });

  test("the gateway's own certificate is one for servers, on every door", async () => {
    const server = join(gateway.dataDir, 'gateway', 'server.pem');
    const chain = ['-x509_strict', '-CAfile', files.root, '-untrusted', files.intermediate];
    expect(await openssl(['verify', '-purpose', 'sslserver', ...chain, server])).toContain('OK');
    const names = ['-verify_hostname', 'localhost'];
    expect(await openssl(['verify', '-purpose', 'sslserver', ...names, ...chain, server])).toContain('OK');
    const { serial } = await readCertificate(server);
    for (const door of [gateway.ready.est, gateway.ready.mqtt, gateway.ready.operator]) {
      const said = await openssl(
        ['s_client', '-connect', `127.0.0.1:${door.port}`, '-CAfile', files.root, '-verify_ip', '127.0.0.1', '-brief'],
        '',
      ).catch((error: Error) => error.message);
      expect(said, door.url).toContain('Verification: OK');
    }
    const shown = await gateway.operator.call<{ profile: string }>('showCertificate', { params: [serial] });
    expect(shown.profile).toBe('gateway-server');
  });

  test('CRL numbers and dates only rise; entries have reasons that exist; an empty list is absent', async () => {
    const first = parseCrl(await fetchCrl());
    expect(first.revoked.size).toBe(0);
    expect(await openssl(['crl', '-inform', 'DER', '-noout', '-text'], await fetchCrl())).toContain(
      'No Revoked Certificates',
    );
    let last = first;
    for (const reason of ['keyCompromise', 'unspecified', 'cessationOfOperation']) {
      const { serial } = await enrollByHand(gateway, `listed-${reason}`);
      await gateway.operator.call('revokeDevice', { params: [`listed-${reason}`], body: { reason } });
      const crl = await eventually('it on the CRL', fetchCrl, (der) => parseCrl(der).revoked.has(serial));
      const parsed = parseCrl(crl);
      expect(parsed.number).toBeGreaterThan(last.number);
      expect(parsed.thisUpdate).toBeGreaterThan(last.thisUpdate);
      expect(parsed.nextUpdate).toBeGreaterThan(Date.now());
      expect(parsed.authorityKeyId).toBe(intermediate.subjectKeyId);
      const text = await openssl(['crl', '-inform', 'DER', '-noout', '-text'], crl);
      const entry = text.slice(text.indexOf(serial.toUpperCase())).split('Serial Number:')[0] ?? '';
      // 5.3.1: unspecified is said by saying nothing.
      expect(entry.includes('X509v3 CRL Reason Code')).toBe(reason !== 'unspecified');
      last = parsed;
    }
  });
});

/** Name (with its criticality) and value of each extension that openssl prints. */
function extensionsIn(printed: string): Record<string, string> {
  const found: Record<string, string> = {};
  const block = printed.slice(printed.indexOf('X509v3 extensions:'), printed.lastIndexOf('Signature Algorithm:'));
  for (const match of block.matchAll(/^ {12}(\S.*?): ?(critical)?\n((?: {16}.*\n| *\n)*)/gm)) {
    const [, name = '', critical, value = ''] = match;
    found[critical === undefined ? name : `${name}: critical`] = value.trim();
  }
  return found;
}

async function readCertificate(path: string): Promise<Certificate> {
  const [der] = parsePem(await readFile(path, 'utf8'), 'CERTIFICATE');
  if (der === undefined) throw new Error(`${path} holds no certificate`);
  return parseCertificate(der);
}
