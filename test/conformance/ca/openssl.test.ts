import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseCertificate, verifyCertificateSignature } from '#ca/pkix/certificate.ts';
import { formatCertsOnly, parseCertsOnly } from '#ca/pkix/cms.ts';
import { formatCsr, parseCsr, verifyCsrSignature } from '#ca/pkix/csr.ts';
import { implicit, sequence } from '#ca/pkix/der.ts';
import { formatName } from '#ca/pkix/name.ts';
import { formatPem, parsePem } from '#ca/pkix/pem.ts';
import { signatureAlgorithmFor, signMessage } from '#ca/pkix/signature-algorithm.ts';
import type { IssuanceOrder } from '#ca/ports/issuance-order.ts';
import { formatRevokedEntry } from '#ca/revocation/crl.ts';
import {
  deviceOrder,
  newSerial,
  noticeSignerOrder,
  type OpenedAuthority,
  openTestAuthority,
  serverOrder,
} from '#test/fixtures/ca/authority.ts';
import { DAY, makeIntermediate, makeRoot, NOW } from '#test/fixtures/ca/certificates.ts';
import { makeKey } from '#test/fixtures/ca/keys.ts';
import { tempFolder } from '#test/fixtures/ca/temp-folder.ts';

const AT = ['-attime', String(NOW / 1000)];

/** Runs openssl in the folder. @returns its two outputs and whether it succeeded */
function openssl(dir: string, ...args: string[]): { ok: boolean; text: string } {
  try {
    return {
      ok: true,
      text: execFileSync('openssl', args, { cwd: dir, stdio: ['ignore', 'pipe', 'pipe'] }).toString(),
    };
  } catch (error) {
    const { stdout, stderr } = error as { stdout: Buffer; stderr: Buffer };
    return { ok: false, text: stdout.toString() + stderr.toString() };
  }
}

/** Root, intermediate and the certificate of this order as PEM files in a folder of their own. */
async function issueInto(opened: OpenedAuthority, order: IssuanceOrder): Promise<string> {
  const dir = tempFolder();
  const der = await opened.authority.issue(order);
  writeFileSync(join(dir, 'root.pem'), formatPem('CERTIFICATE', opened.root.certificate.der));
  writeFileSync(join(dir, 'intermediate.pem'), formatPem('CERTIFICATE', opened.intermediate.certificate.der));
  writeFileSync(join(dir, 'leaf.pem'), formatPem('CERTIFICATE', der));
  return dir;
}

const CHAIN = ['-CAfile', 'root.pem', '-untrusted', 'intermediate.pem'];

describe('openssl verify -x509_strict', () => {
  it.each(['ec-p256', 'ec-p384', 'ed25519', 'rsa-3072'] as const)(
    'accepts device certificates of an issuing key of %s',
    async (kind) => {
      const root = makeRoot({ key: makeKey('ec-p384') });
      const opened = await openTestAuthority({ root, intermediate: makeIntermediate(root, { key: makeKey(kind) }) });
      const dir = await issueInto(opened, deviceOrder({ hardwareSerial: 'HW 1/2' }));
      const verified = openssl(dir, 'verify', '-x509_strict', ...AT, '-purpose', 'sslclient', ...CHAIN, 'leaf.pem');
      expect(verified).toEqual({ ok: true, text: 'leaf.pem: OK\n' });
    },
  );

  it.each(['ec-p256', 'ec-p384', 'ed25519', 'rsa-2048'] as const)('accepts devices with a key of %s', async (kind) => {
    const opened = await openTestAuthority({ statusUrl: 'http://status.example:8080' });
    const dir = await issueInto(opened, deviceOrder({ publicKey: makeKey(kind).spki }));
    expect(openssl(dir, 'verify', '-x509_strict', ...AT, '-purpose', 'sslclient', ...CHAIN, 'leaf.pem').ok).toBe(true);
  });

  it('accepts server certificates for their names, and for no client', async () => {
    const dir = await issueInto(await openTestAuthority(), serverOrder());
    const verify = ['verify', '-x509_strict', ...AT, ...CHAIN];
    expect(openssl(dir, ...verify, '-purpose', 'sslserver', '-verify_hostname', 'gate.example', 'leaf.pem').ok).toBe(
      true,
    );
    expect(openssl(dir, ...verify, '-purpose', 'sslserver', '-verify_ip', '::1', 'leaf.pem').ok).toBe(true);
    expect(openssl(dir, ...verify, '-purpose', 'sslserver', '-verify_hostname', 'other.example', 'leaf.pem').ok).toBe(
      false,
    );
    expect(openssl(dir, ...verify, '-purpose', 'sslclient', 'leaf.pem').ok).toBe(false);
  });

  it('lets a notice signer be neither client nor server nor CA', async () => {
    const dir = await issueInto(await openTestAuthority(), noticeSignerOrder());
    const verify = ['verify', '-x509_strict', ...AT, ...CHAIN];
    expect(openssl(dir, ...verify, 'leaf.pem').ok).toBe(true);
    for (const purpose of ['sslclient', 'sslserver', 'smimesign']) {
      expect(openssl(dir, ...verify, '-purpose', purpose, 'leaf.pem').ok).toBe(false);
    }
  });

  it('shows the extensions as they are meant', async () => {
    const opened = await openTestAuthority({ statusUrl: 'http://status.example:8080' });
    const dir = await issueInto(opened, deviceOrder());
    const { text } = openssl(dir, 'x509', '-in', 'leaf.pem', '-noout', '-text');
    expect(text).toMatch(/Basic Constraints: critical\s+CA:FALSE/);
    expect(text).toMatch(/Key Usage: critical\s+Digital Signature\n/);
    expect(text).toMatch(/Extended Key Usage: \s+TLS Web Client Authentication\n/);
    expect(text).toMatch(/Subject Alternative Name: \s+URI:spiffe:\/\/gatehouse.internal\/device\/pump-1\n/);
    expect(text).toMatch(
      /CRL Distribution Points: \s+Full Name:\s+URI:http:\/\/status.example:8080\/crl\/intermediate.crl/,
    );
    expect(text).toMatch(/CA Issuers - URI:http:\/\/status.example:8080\/ca\/intermediate.cer/);
  });
});

describe('openssl crl', () => {
  it('verifies a CRL and refuses the revoked certificate by it', async () => {
    const opened = await openTestAuthority();
    const order = deviceOrder();
    const dir = await issueInto(opened, order);
    const sign = async (number: number, entries: Buffer) => {
      const times = { thisUpdate: NOW - DAY + number * 1000, nextUpdate: NOW + DAY };
      writeFileSync(join(dir, 'crl.der'), await opened.authority.signCrl({ number, ...times, entries }));
      return openssl(
        dir,
        'crl',
        '-inform',
        'DER',
        '-in',
        'crl.der',
        '-CAfile',
        'intermediate.pem',
        '-text',
        '-out',
        'crl.pem',
      );
    };
    const check = ['verify', ...AT, '-crl_check', '-CRLfile', 'crl.pem', ...CHAIN, 'leaf.pem'];

    expect((await sign(1, Buffer.alloc(0))).ok).toBe(true);
    expect(readFileSync(join(dir, 'crl.pem'), 'utf8')).toMatch(/No Revoked Certificates/);
    expect(openssl(dir, ...check)).toMatchObject({ ok: true });

    const serials = [order.serial, newSerial()];
    const entries = serials.map((serial) =>
      formatRevokedEntry({ serial, revokedAt: NOW - 1000, reason: 'keyCompromise' }),
    );
    expect((await sign(2, Buffer.concat(entries))).ok).toBe(true);
    const text = readFileSync(join(dir, 'crl.pem'), 'utf8');
    expect(text).toMatch(/X509v3 CRL Number: \s+2/);
    expect(text).toMatch(/X509v3 Authority Key Identifier/);
    expect(text.match(/Key Compromise/g)).toHaveLength(2);
    expect(text).toContain(`Serial Number: ${order.serial.toUpperCase()}`);
    expect(openssl(dir, ...check).text).toMatch(/certificate revoked/);
  });
});

describe('openssl pkcs7', () => {
  it('reads our certs-only message, and writes the one we read', async () => {
    const opened = await openTestAuthority();
    const dir = await issueInto(opened, deviceOrder());
    const certificates = [opened.intermediate.certificate.der, opened.root.certificate.der];
    writeFileSync(join(dir, 'ours.p7'), formatCertsOnly(certificates));
    const { text } = openssl(dir, 'pkcs7', '-inform', 'DER', '-in', 'ours.p7', '-print_certs');
    expect(parsePem(text, 'CERTIFICATE')).toEqual(certificates);
    const written = ['-certfile', 'intermediate.pem', '-certfile', 'root.pem', '-outform', 'DER', '-out', 'theirs.p7'];
    openssl(dir, 'crl2pkcs7', '-nocrl', ...written);
    expect(parseCertsOnly(readFileSync(join(dir, 'theirs.p7')))).toEqual(certificates);
    expect(readFileSync(join(dir, 'theirs.p7'))).toEqual(formatCertsOnly(certificates));
  });
});

describe('openssl req', () => {
  it.each(['ec-p256', 'ec-p384', 'ed25519', 'rsa-2048'] as const)('verifies our CSR of %s', async (kind) => {
    const key = makeKey(kind);
    const signatureAlgorithm = signatureAlgorithmFor(kind);
    const dir = tempFolder();
    const der = await formatCsr({
      subject: formatName({ commonName: 'pump-1', serialNumber: 'HW' }),
      publicKey: key.spki,
      subjectAltName: sequence(implicit(6, Buffer.from('spiffe://a/device/pump-1'))),
      sign: (message) => signMessage(signatureAlgorithm, message, key.privateKey),
      signatureAlgorithm,
    });
    writeFileSync(join(dir, 'csr.der'), der);
    const { ok, text } = openssl(dir, 'req', '-inform', 'DER', '-in', 'csr.der', '-verify', '-noout', '-text');
    expect(ok).toBe(true);
    expect(text).toMatch(/URI:spiffe:\/\/a\/device\/pump-1/);
  });

  it.each<[string, string[], string[], { ok: boolean; kind: string | undefined }]>([
    ['P-256', ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'], [], { ok: true, kind: 'ec-p256' }],
    [
      'P-384 with SHA-384',
      ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-384'],
      ['-sha384'],
      { ok: true, kind: 'ec-p384' },
    ],
    [
      'P-256 with SHA-512',
      ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'],
      ['-sha512'],
      { ok: true, kind: 'ec-p256' },
    ],
    ['Ed25519', ['-newkey', 'ed25519'], [], { ok: true, kind: 'ed25519' }],
    ['RSA 2048', ['-newkey', 'rsa:2048'], [], { ok: true, kind: 'rsa-2048' }],
    ['RSA 2048 with SHA-512', ['-newkey', 'rsa:2048'], ['-sha512'], { ok: true, kind: 'rsa-2048' }],
    [
      'RSA-PSS',
      ['-newkey', 'rsa:2048'],
      ['-sigopt', 'rsa_padding_mode:pss', '-sigopt', 'rsa_pss_saltlen:-1'],
      { ok: true, kind: 'rsa-2048' },
    ],
    [
      'RSA-PSS without salt',
      ['-newkey', 'rsa:2048'],
      ['-sigopt', 'rsa_padding_mode:pss', '-sigopt', 'rsa_pss_saltlen:0'],
      { ok: false, kind: 'rsa-2048' },
    ],
    ['RSA 1024', ['-newkey', 'rsa:1024'], [], { ok: true, kind: undefined }],
    ['SHA-1', ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'], ['-sha1'], { ok: false, kind: 'ec-p256' }],
    ['RSA with SHA-1', ['-newkey', 'rsa:2048'], ['-sha1'], { ok: false, kind: 'rsa-2048' }],
    ['P-521', ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-521'], [], { ok: true, kind: undefined }],
    ['secp256k1', ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:secp256k1'], [], { ok: true, kind: undefined }],
  ])('has its CSR of %s judged', (_what, key, options, expected) => {
    const dir = tempFolder();
    const made = openssl(
      dir,
      'req',
      '-new',
      ...key,
      ...options,
      '-nodes',
      '-keyout',
      'key.pem',
      '-subj',
      '/CN=x',
      '-outform',
      'DER',
      '-out',
      'csr.der',
    );
    expect(made.text).not.toMatch(/error/i);
    const csr = parseCsr(readFileSync(join(dir, 'csr.der')));
    expect({ ok: verifyCsrSignature(csr), kind: csr.keyKind }).toEqual(expected);
  });
});

describe('openssl x509', () => {
  it.each([
    ['ecdsa-with-SHA256', ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256']],
    ['sha256WithRSAEncryption', ['-newkey', 'rsa:2048']],
    ['ED25519', ['-newkey', 'ed25519']],
    ['rsassaPss', ['-newkey', 'rsa:2048', '-sigopt', 'rsa_padding_mode:pss', '-sigopt', 'rsa_pss_saltlen:-1']],
  ])('signs what we verify with %s', (_what, key) => {
    const dir = tempFolder();
    const names = 'subjectAltName=DNS:a.example,IP:192.0.2.1,IP:2001:db8::1,URI:urn:x,email:a@b,dirName:d';
    writeFileSync(join(dir, 'd.cnf'), `[req]\ndistinguished_name=n\n[n]\n[e]\n${names}\n[d]\nO=x\n`);
    openssl(
      dir,
      'req',
      '-x509',
      '-config',
      'd.cnf',
      '-extensions',
      'e',
      ...key,
      '-nodes',
      '-keyout',
      'k.pem',
      '-subj',
      '/O=A/CN=x',
      '-outform',
      'DER',
      '-out',
      'c.der',
    );
    const certificate = parseCertificate(readFileSync(join(dir, 'c.der')));
    expect(certificate.dnsNames).toEqual(['a.example']);
    expect(certificate.ipAddresses).toEqual(['192.0.2.1', '2001:db8::1']);
    expect(certificate.uris).toEqual(['urn:x']);
    expect(verifyCertificateSignature(certificate, certificate.publicKey)).toBe(true);
  });
});
