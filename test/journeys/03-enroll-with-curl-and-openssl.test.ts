import { X509Certificate } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type GatewayProcess, startGateway } from '#test/fixtures/processes/gateway-process.ts';
import { lacks } from '#test/fixtures/processes/outside-tools.ts';
import { run, runOk } from '#test/fixtures/processes/program.ts';

/** What the owner of a device types to make a key of each kind. */
const KEYS = {
  'P-256': 'openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out device.key',
  'P-384': 'openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out device.key',
  Ed25519: 'openssl genpkey -algorithm ED25519 -out device.key',
  'RSA 2048': 'openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out device.key',
  'RSA 3072': 'openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072 -out device.key',
};

describe.skipIf(lacks('curl', 'openssl'))('a device enrolls with curl and openssl alone', () => {
  let gateway: GatewayProcess;
  beforeAll(async () => {
    gateway = await startGateway();
  });
  afterAll(() => gateway?.dispose());

  /** A shell in a folder of this device's own, as a person would use it. */
  async function shellOf(deviceId: string) {
    const cwd = join(gateway.folder, deviceId);
    await mkdir(cwd);
    const env = { ...process.env, EST: `${gateway.ready.est.url}/.well-known/est`, DEVICE: deviceId };
    return {
      sh: async (command: string, more: Record<string, string> = {}) =>
        (await runOk('sh', ['-euc', command], { cwd, env: { ...env, ...more } })).stdout,
      fails: (command: string, more: Record<string, string> = {}) =>
        run('sh', ['-euc', command], { cwd, env: { ...env, ...more } }),
      read: (name: string) => readFile(join(cwd, name), 'utf8'),
      certificate: async (name: string) => new X509Certificate(await readFile(join(cwd, name))),
    };
  }

  const TRUST = `
    curl --silent --show-error --fail --insecure "$EST/cacerts" | openssl base64 -d -A |
      openssl pkcs7 -inform DER -print_certs -out cacerts.pem
    awk '/BEGIN CERT/{n++} {print > "ca" n ".pem"}' cacerts.pem
    for one in ca?.pem; do
      sum=$(openssl x509 -in "$one" -noout -fingerprint -sha256 | sed 's/.*=//; s/://g' | tr A-F a-f)
      test "$sum" = "$ROOT_SHA256" && cp "$one" root.pem
      true
    done
    test -s root.pem`;
  const REQUEST = 'openssl req -new -key device.key -subj "/CN=$DEVICE" -outform DER | openssl base64 -A > device.csr';
  const ENROLL = `
    curl --silent --show-error --fail --cacert root.pem --user "$DEVICE:$TICKET" \
      -H 'Content-Type: application/pkcs10' --data-binary @device.csr "$EST/simpleenroll" -o device.p7
    openssl base64 -d -A -in device.p7 | openssl pkcs7 -inform DER -print_certs -out device.pem`;
  // RFC 7030 4.2.2: subject and subjectAltName are those of the current certificate.
  const RENEW = `
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out next.key
    openssl req -new -key next.key -subj "/CN=$DEVICE" -addext "subjectAltName=URI:$NAME" -outform DER |
      openssl base64 -A > next.csr
    curl --silent --show-error --fail --cacert root.pem --cert device.pem --key device.key \
      -H 'Content-Type: application/pkcs10' --data-binary @next.csr "$EST/simplereenroll" -o next.p7
    openssl base64 -d -A -in next.p7 | openssl pkcs7 -inform DER -print_certs -out next.pem`;

  test.each(Object.entries(KEYS))('with a %s key, and renews with its certificate', async (kind, makeKey) => {
    const deviceId = `curl-${kind.toLowerCase().replace(' ', '-')}`;
    const { ticket } = await gateway.addDevice(deviceId);
    const shell = await shellOf(deviceId);
    await shell.sh(TRUST, { ROOT_SHA256: gateway.ready.rootSha256 });
    await shell.sh(makeKey);
    await shell.sh(`${REQUEST}\n${ENROLL}`, { TICKET: ticket });
    const first = await shell.certificate('device.pem');
    const name = `spiffe://gatehouse.internal/device/${deviceId}`;
    expect(first.subject).toBe(`CN=${deviceId}`);
    expect(first.subjectAltName).toBe(`URI:${name}`);

    await shell.sh(RENEW, { NAME: name });
    const second = await shell.certificate('next.pem');
    expect(second.subject).toBe(first.subject);
    expect(second.subjectAltName).toBe(first.subjectAltName);
    expect(second.serialNumber).not.toBe(first.serialNumber);
    const { certificates } = await gateway.device(deviceId);
    const states = Object.fromEntries(certificates.map(({ serial, state }) => [serial, state]));
    expect(states[first.serialNumber.toLowerCase()]).toBe('active');
    expect(states[second.serialNumber.toLowerCase()]).toBe('pending');
  });

  test('with TLS 1.2 at most', async () => {
    const { ticket } = await gateway.addDevice('curl-tls12');
    const shell = await shellOf('curl-tls12');
    await shell.sh(TRUST, { ROOT_SHA256: gateway.ready.rootSha256 });
    await shell.sh(`${KEYS['P-256']}\n${REQUEST}`);
    const said = await shell.fails(
      `${ENROLL.replace('--silent', '--silent --verbose --tls-max 1.2')}\n${RENEW.replace('--silent', '--silent --tls-max 1.2')}`,
      { TICKET: ticket, NAME: 'spiffe://gatehouse.internal/device/curl-tls12' },
    );
    expect(said.stderr).toContain('TLSv1.2');
    expect(said.code).toBe(0);
    expect((await shell.certificate('next.pem')).subject).toBe('CN=curl-tls12');
  });

  test('with a body in lines of 64 columns, and is answered in such lines', async () => {
    const { ticket } = await gateway.addDevice('curl-lines');
    const shell = await shellOf('curl-lines');
    await writeFile(join(gateway.folder, 'curl-lines', 'root.pem'), await readFile(gateway.ready.rootPem));
    await shell.sh(`${KEYS['P-256']}\n${REQUEST.replace('base64 -A', 'base64')}`);
    expect((await shell.read('device.csr')).split('\n').length).toBeGreaterThan(4);
    await shell.sh(ENROLL.replace('base64 -d -A', 'base64 -d'), { TICKET: ticket });
    const lines = (await shell.read('device.p7')).trimEnd().split('\n');
    expect(lines.length).toBeGreaterThan(4);
    expect(lines.slice(0, -1).every((line) => line.length === 64)).toBe(true);
    expect((await shell.certificate('device.pem')).subject).toBe('CN=curl-lines');
  });

  test('with CR LF line ends just as well', async () => {
    const { ticket } = await gateway.addDevice('curl-crlf');
    const shell = await shellOf('curl-crlf');
    await writeFile(join(gateway.folder, 'curl-crlf', 'root.pem'), await readFile(gateway.ready.rootPem));
    await shell.sh(`${KEYS['P-256']}\n${REQUEST.replace('base64 -A', "base64 | sed 's/$/\\r/'")}`);
    expect(await shell.read('device.csr')).toContain('\r\n');
    await shell.sh(ENROLL.replace('base64 -d -A', 'base64 -d'), { TICKET: ticket });
    expect((await shell.certificate('device.pem')).subject).toBe('CN=curl-crlf');
  });

  test('or reads what is wrong', async () => {
    await gateway.addDevice('curl-wrong');
    const shell = await shellOf('curl-wrong');
    await writeFile(join(gateway.folder, 'curl-wrong', 'root.pem'), await readFile(gateway.ready.rootPem));
    await shell.sh(`${KEYS['P-256']}\n${REQUEST}`);
    const said = await shell.sh(
      `curl --silent --show-error --cacert root.pem --user "$DEVICE:0000000000" --write-out '%{http_code}' \
        -H 'Content-Type: application/pkcs10' --data-binary @device.csr "$EST/simpleenroll"`,
    );
    expect(said).toMatch(/^TICKET_UNKNOWN: .*\(attempt a-[0-9a-f]{16}\)\n401$/);
  });
});
