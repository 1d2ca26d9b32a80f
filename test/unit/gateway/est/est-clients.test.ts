import { execFile, execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type EstGateway, openEstGateway } from '#test/fixtures/doors/est-gateway.ts';

const run = promisify(execFile);
const TICKET = '0123456789abcdefghjkmnpqrs';

function isInstalled(command: string): boolean {
  try {
    execFileSync('sh', ['-c', `command -v ${command}`]);
    return true;
  } catch {
    return false;
  }
}

let gateway: EstGateway;
let folder: string;
const path = (name: string) => join(folder, name);
const url = (operation: string) => `https://127.0.0.1:${gateway.port}/.well-known/est/${operation}`;

beforeAll(async () => {
  gateway = await openEstGateway();
  gateway.tickets.set(TICKET, { deviceId: 'device-1' });
  folder = await mkdtemp(join(tmpdir(), 'est-clients-'));
  await writeFile(path('root.pem'), gateway.authority.root.pem);
});
afterAll(async () => {
  await gateway.close();
  await rm(folder, { recursive: true, force: true });
});

describe.skipIf(!isInstalled('curl') || !isInstalled('openssl'))('curl and openssl', () => {
  const curl = (...args: string[]) => run('curl', ['--silent', '--show-error', '--cacert', path('root.pem'), ...args]);

  test('fetch the CA certificates, enroll with a ticket and renew with the certificate', async () => {
    await curl('--fail', '-o', path('cacerts.b64'), url('cacerts'));
    await run('openssl', ['base64', '-d', '-A', '-in', path('cacerts.b64'), '-out', path('cacerts.p7')]);
    const { stdout: printed } = await run('openssl', [
      ...['pkcs7', '-inform', 'DER', '-in', path('cacerts.p7'), '-print_certs'],
    ]);
    expect(printed).toContain('CN = Test Intermediate');
    expect(printed).toContain('CN = Test Root');

    const enroll = async (key: string, operation: string, ...more: string[]): Promise<X509Certificate> => {
      await run('openssl', ['ecparam', '-genkey', '-name', 'prime256v1', '-noout', '-out', path(`${key}.key`)]);
      await run('openssl', ['req', '-new', '-key', path(`${key}.key`), '-subj', '/CN=device-1', '-outform', 'DER'], {
        encoding: 'buffer',
      }).then(({ stdout }) => writeFile(path(`${key}.csr`), stdout.toString('base64').replace(/.{1,64}/g, '$&\n')));
      const { stdout } = await curl(
        ...['--fail', '-H', 'Content-Type: application/pkcs10', '--data-binary', `@${path(`${key}.csr`)}`, ...more],
        url(operation),
      );
      await writeFile(path('answer.b64'), stdout);
      await run('openssl', ['base64', '-d', '-in', path('answer.b64'), '-out', path('answer.p7')]);
      const { stdout: pem } = await run('openssl', [
        ...['pkcs7', '-inform', 'DER', '-in', path('answer.p7'), '-print_certs', '-out', path(`${key}.pem`)],
      ]).then(async () => ({ stdout: await readFile(path(`${key}.pem`), 'utf8') }));
      return new X509Certificate(pem.slice(pem.indexOf('-----BEGIN')));
    };
    const first = await enroll('first', 'simpleenroll', '--user', `device-1:${TICKET}`);
    expect(first.subject).toBe('CN=device-1');
    const second = await enroll('second', 'simplereenroll', '--cert', path('first.pem'), '--key', path('first.key'));
    expect(second.subject).toBe('CN=device-1');
    expect(second.fingerprint256).not.toBe(first.fingerprint256);
  });

  test('show a person what is wrong', async () => {
    const { stdout } = await curl(
      '-H',
      'Content-Type: application/pkcs10',
      '--data',
      'x',
      '-u',
      'device-1:wrong',
      url('simpleenroll'),
    );
    expect(stdout).toMatch(/^BODY_NOT_BASE64: /);
  });
});

describe.skipIf(!isInstalled('pki'))("strongSwan's pki", () => {
  const pki = (args: string[]) => run('pki', args, { encoding: 'buffer', timeout: 15_000 });

  test('fetches the CA certificates', async () => {
    await pki([
      '--estca',
      '--url',
      url('').replace(/\/\.well-known.*/, ''),
      '--cacert',
      path('root.pem'),
      '--caout',
      path('ca.der'),
    ]);
    const files = (await readdir(folder)).filter((name) => name.startsWith('ca') && name.endsWith('.der'));
    const subjects = await Promise.all(
      files.map(async (name) => new X509Certificate(await readFile(path(name))).subject),
    );
    expect(subjects.sort()).toEqual(['CN=Test Intermediate', 'CN=Test Root']);
  });

  test('enrolls with a ticket, and renews with the certificate', async () => {
    const base = url('').replace(/\/\.well-known.*/, '');
    await writeFile(path('intermediate.pem'), gateway.authority.intermediate.pem);
    const authorities = ['--cacert', path('root.pem'), '--cacert', path('intermediate.pem')];
    const newRequest = async (name: string): Promise<void> => {
      await writeFile(
        path(`${name}.key`),
        (await pki(['--gen', '--type', 'ecdsa', '--size', '256', '--outform', 'pem'])).stdout,
      );
      const args = ['--req', '--type', 'ecdsa', '--in', path(`${name}.key`), '--dn', 'CN=device-1'];
      await writeFile(path(`${name}.der`), (await pki(args)).stdout);
    };
    await newRequest('swan1');
    const enrolled = await pki([
      '--est',
      '--url',
      base,
      '--in',
      path('swan1.der'),
      ...authorities,
      '--userpass',
      `device-1:${TICKET}`,
    ]);
    const first = new X509Certificate(enrolled.stdout);
    expect(first.subject).toBe('CN=device-1');

    await writeFile(path('swan1.crt'), enrolled.stdout);
    await newRequest('swan2');
    const renewed = await pki([
      ...['--est', '--url', base, '--in', path('swan2.der'), ...authorities],
      ...['--cert', path('swan1.crt'), '--key', path('swan1.key')],
    ]);
    expect(new X509Certificate(renewed.stdout).fingerprint256).not.toBe(first.fingerprint256);
  });
});
