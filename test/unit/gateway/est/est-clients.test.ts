import { execFile } from 'node:child_process';
import { createHash, X509Certificate } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import { DEFAULT_POLICY } from '#gateway/domain/group.ts';
import { createTestMaker } from '#test/fixtures/doors/certificates.ts';
import { type EstGateway, openEstGateway } from '#test/fixtures/doors/est-gateway.ts';
import { lacks } from '#test/fixtures/processes/outside-tools.ts';

const run = promisify(execFile);
const TICKET = '0123456789abcdefghjkmnpqrs';
const PKCS10 = '--header Content-Type:application/pkcs10';

let gateway: EstGateway;
let folder: string;
let base: string;

beforeAll(async () => {
  const maker = await createTestMaker('Acme');
  gateway = await openEstGateway({}, [maker.root.der]);
  gateway.tickets.set(TICKET, { deviceId: 'device-1' });
  const identity = await maker.issueIdentity('SN-0042');
  gateway.makers.set(createHash('sha256').update(identity.der).digest('hex'), 'device-1');
  base = `https://127.0.0.1:${gateway.port}`;
  folder = await mkdtemp(join(tmpdir(), 'est-clients-'));
  await writeFile(join(folder, 'root.pem'), gateway.authority.root.pem);
  await writeFile(join(folder, 'maker.pem'), identity.pem);
  await writeFile(join(folder, 'maker.key'), identity.keyPem);
  await writeFile(join(folder, 'maker.crt'), identity.der);
  await writeFile(join(folder, 'intermediate.pem'), gateway.authority.intermediate.pem);
});
afterAll(async () => {
  await gateway.close();
  await rm(folder, { recursive: true, force: true });
});

/** A command line without quotes, run in the temporary folder. @returns what it printed */
async function command(line: string): Promise<Buffer> {
  const [program = '', ...args] = line.split(' ');
  const { stdout } = await run(program, args, { cwd: folder, encoding: 'buffer' });
  return stdout;
}

async function readCertificate(name: string): Promise<X509Certificate> {
  const text = await readFile(join(folder, name), 'utf8');
  return new X509Certificate(text.slice(text.indexOf('-----BEGIN')));
}

async function enrollWithCurl(name: string, operation: string, credentials: string): Promise<X509Certificate> {
  await command(`openssl ecparam -genkey -name prime256v1 -noout -out ${name}.key`);
  await command(`openssl req -new -key ${name}.key -subj /CN=device-1 -outform DER -out ${name}.der`);
  await command(`openssl base64 -in ${name}.der -out ${name}.csr`);
  await command(
    `curl -sSf --cacert root.pem ${PKCS10} --data-binary @${name}.csr ${credentials} -o ${name}.b64 ${base}/.well-known/est/${operation}`,
  );
  await command(`openssl base64 -d -in ${name}.b64 -out ${name}.p7`);
  await command(`openssl pkcs7 -inform DER -in ${name}.p7 -print_certs -out ${name}.pem`);
  return readCertificate(`${name}.pem`);
}

async function enrollWithPki(name: string, credentials: string): Promise<X509Certificate> {
  await writeFile(join(folder, `${name}.key`), await command('pki --gen --type ecdsa --size 256 --outform pem'));
  const csr = await command(`pki --req --type ecdsa --in ${name}.key --dn CN=device-1`);
  await writeFile(join(folder, `${name}.csr`), csr);
  const authorities = '--cacert root.pem --cacert intermediate.pem';
  const der = await command(`pki --est --interval 1 --url ${base} --in ${name}.csr ${authorities} ${credentials}`);
  await writeFile(join(folder, `${name}.crt`), der);
  return new X509Certificate(der);
}

describe.skipIf(lacks('curl', 'openssl'))('curl and openssl', () => {
  test('fetch the CA certificates', async () => {
    await command(`curl -sSf --cacert root.pem -o cacerts.b64 ${base}/.well-known/est/cacerts`);
    await command('openssl base64 -d -A -in cacerts.b64 -out cacerts.p7');
    const printed = String(await command('openssl pkcs7 -inform DER -in cacerts.p7 -print_certs'));
    expect(printed).toMatch(/CN ?= ?Test Intermediate/);
    expect(printed).toMatch(/CN ?= ?Test Root/);
  });

  test('enroll with a ticket and renew with the certificate', async () => {
    const first = await enrollWithCurl('first', 'simpleenroll', `--user device-1:${TICKET}`);
    expect(first.subject).toBe('CN=device-1');
    const second = await enrollWithCurl('second', 'simplereenroll', '--cert first.pem --key first.key');
    expect(second.subject).toBe('CN=device-1');
    expect(second.fingerprint256).not.toBe(first.fingerprint256);
  });

  test.each(['1.2', '1.3'])("enroll with the maker's certificate over TLS %s alone", async (version) => {
    const tls = `--tlsv${version} --tls-max ${version} --cert maker.pem --key maker.key`;
    const first = await enrollWithCurl(`maker-${version}`, 'simpleenroll', tls);
    expect(first.subject).toBe('CN=device-1');
    expect(gateway.asked.at(-1)).toMatchObject({ credentials: { chain: [expect.any(Buffer)] } });
  });

  test('enroll and renew behind a label over TLS 1.2 alone', async () => {
    const tls = '--tls-max 1.2';
    await enrollWithCurl('old', 'default/simpleenroll', `${tls} --user device-1:${TICKET}`);
    const second = await enrollWithCurl('old2', 'default/simplereenroll', `${tls} --cert old.pem --key old.key`);
    expect(second.subject).toBe('CN=device-1');
  });

  test('get a key made for them where the group says so', async () => {
    gateway.groups.set('default', { ...DEFAULT_POLICY, serverKeygen: true });
    await command(
      `openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout own.key -subj / -outform DER -out own.der`,
    );
    await command('openssl base64 -in own.der -out own.csr');
    const answer = await command(
      `curl -sSf --cacert root.pem ${PKCS10} --data-binary @own.csr --user device-1:${TICKET} ${base}/.well-known/est/serverkeygen`,
    );
    gateway.groups.set('default', DEFAULT_POLICY);
    const [key = '', certificate = ''] = [...String(answer).matchAll(/\r\n\r\n([^-]+?)\r\n--/g)].map(
      ([, part]) => part,
    );
    await writeFile(join(folder, 'made.key.der'), Buffer.from(key, 'base64'));
    await writeFile(join(folder, 'made.p7'), Buffer.from(certificate, 'base64'));
    const ofKey = await command('openssl pkey -inform DER -in made.key.der -pubout');
    await command('openssl pkcs7 -inform DER -in made.p7 -print_certs -out made.pem');
    expect(String(await command('openssl x509 -in made.pem -noout -pubkey'))).toBe(String(ofKey));
  });

  test('show a person what is wrong', async () => {
    const answer = await command(
      `curl -sS --cacert root.pem ${PKCS10} --data x --user device-1:wrong ${base}/.well-known/est/simpleenroll`,
    );
    expect(String(answer)).toMatch(/^BODY_NOT_BASE64: /);
  });
});

describe.skipIf(lacks('pki'))("strongSwan's pki", () => {
  test('fetches the CA certificates', async () => {
    await command(`pki --estca --url ${base} --cacert root.pem --caout ca.der`);
    const files = (await readdir(folder)).filter((name) => name.startsWith('ca') && name.endsWith('.der'));
    const subjects = await Promise.all(
      files.map(async (name) => new X509Certificate(await readFile(join(folder, name))).subject),
    );
    expect(new Set(subjects)).toEqual(new Set(['CN=Test Intermediate', 'CN=Test Root']));
  });

  test("enrolls with its maker's certificate, which it sends to simplereenroll", async () => {
    gateway.asked.length = 0;
    const first = await enrollWithPki('swan0', '--cert maker.crt --key maker.key');
    expect(first.subject).toBe('CN=device-1');
    expect(gateway.asked).toMatchObject([{ credentials: { by: 'certificate' } }]);
  });

  test('comes back by itself when it is told to wait', async () => {
    gateway.fail.with = new GatewayError('APPROVAL_PENDING', 'a person decides', { retryAfter: 1 });
    gateway.asked.length = 0;
    const waiting = enrollWithPki('swan3', `--userpass device-1:${TICKET}`);
    await expect.poll(() => gateway.asked.length).toBeGreaterThanOrEqual(2);
    delete gateway.fail.with;
    expect((await waiting).subject).toBe('CN=device-1');
  });

  test('enrolls with a ticket and renews with the certificate', async () => {
    const first = await enrollWithPki('swan1', `--userpass device-1:${TICKET}`);
    expect(first.subject).toBe('CN=device-1');
    const second = await enrollWithPki('swan2', '--cert swan1.crt --key swan1.key');
    expect(second.fingerprint256).not.toBe(first.fingerprint256);
  });
});
