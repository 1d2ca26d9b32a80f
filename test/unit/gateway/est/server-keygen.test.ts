import { spawnSync } from 'node:child_process';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { parseCertsOnly } from '#ca/pkix/cms.ts';
import { parseEstBody } from '#gateway/contract/est.ts';
import { DEFAULT_POLICY } from '#gateway/domain/group.ts';
import { createCsr } from '#test/fixtures/doors/certificates.ts';
import { basic, callEst, type EstGateway, type EstResponse, openEstGateway } from '#test/fixtures/doors/est-gateway.ts';
import { lacks } from '#test/fixtures/processes/outside-tools.ts';

const KEYGEN = '/.well-known/est/serverkeygen';
const TICKET = '0123456789abcdefghjkmnpqrs';

let gateway: EstGateway;
let csr: string;

beforeAll(async () => {
  gateway = await openEstGateway();
  csr = (await createCsr('device-1')).toString('base64');
  gateway.tickets.set(TICKET, { deviceId: 'device-1' });
});
afterAll(() => gateway.close());
beforeEach(() => {
  gateway.groups.set('default', { ...DEFAULT_POLICY, serverKeygen: true });
  gateway.log.length = 0;
  gateway.asked.length = 0;
});

function ask(headers: Record<string, string> = {}, path = KEYGEN, body = csr): Promise<EstResponse> {
  return callEst(gateway, path, { headers: { 'Content-Type': 'application/pkcs10', ...headers }, body });
}

/** RFC 2046 5.1: the parts between the boundaries. */
function partsOf({ headers, body }: EstResponse): { head: string[]; content: string }[] {
  const [, boundary = ''] = /^multipart\/mixed; boundary=(\S+)$/.exec(String(headers['content-type'])) ?? [];
  const [preamble, ...rest] = `\r\n${body}`.split(`\r\n--${boundary}`);
  expect(preamble).toBe('');
  expect(rest.pop()).toBe('--\r\n');
  return rest.map((part) => {
    const [head = '', content = ''] = part.replace(/^\r\n/, '').split('\r\n\r\n');
    return { head: head.split('\r\n'), content };
  });
}

test('gives a key and the certificate for it, in two parts (RFC 7030 4.4.2)', async () => {
  const response = await ask(basic('device-1', TICKET));
  expect(response.status).toBe(200);
  expect(response.headerNames).toContain('Content-Length');
  // Each part is base64, the whole is not.
  expect(response.headerNames).not.toContain('Content-Transfer-Encoding');
  expect(response.headers['cache-control']).toBe('no-store');
  const [key, certificate] = partsOf(response);
  expect(key?.head).toEqual(['Content-Type: application/pkcs8', 'Content-Transfer-Encoding: base64']);
  expect(certificate?.head).toEqual([
    'Content-Type: application/pkcs7-mime; smime-type=certs-only',
    'Content-Transfer-Encoding: base64',
  ]);
  const pkcs8 = parseEstBody(key?.content ?? '') ?? Buffer.alloc(0);
  const [der] = parseCertsOnly(parseEstBody(certificate?.content ?? '') ?? Buffer.alloc(0));
  const privateKey = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' });
  expect(new X509Certificate(der ?? '').checkPrivateKey(privateKey)).toBe(true);
  expect(key?.content).not.toContain('\n');
});

test('gives lines to a client that wants them', async () => {
  const [key] = partsOf(await ask({ ...basic('device-1', TICKET), 'User-Agent': 'libest 1.0' }));
  expect(Math.max(...(key?.content ?? '').split('\n').map((line) => line.length))).toBe(64);
});

/** Prints, for each part, its type, its parameters and its content in base64, and whatever the parser found wrong. */
const MAIL_READER = `
import base64, email, email.policy, json, sys
message = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.default)
defects = [str(d) for part in message.walk() for d in part.defects]
parts = [
  [p.get_content_type(), p.get_param('smime-type'), base64.b64encode(p.get_payload(decode=True)).decode()]
  for p in message.iter_parts()
]
print(json.dumps({'type': message.get_content_type(), 'extra': [message.preamble, message.epilogue], 'parts': parts, 'defects': defects}))
`;

test.skipIf(lacks('python3')).each(['curl/8.5.0', 'libest 1.0'])(
  'reads as MIME to a parser of mail (%s)',
  async (agent) => {
    const response = await ask({ ...basic('device-1', TICKET), 'User-Agent': agent });
    const input = `MIME-Version: 1.0\r\nContent-Type: ${String(response.headers['content-type'])}\r\n\r\n${response.body}`;
    const { stdout, stderr } = spawnSync('python3', ['-c', MAIL_READER], { input, encoding: 'utf8' });
    expect(stderr).toBe('');
    const read = JSON.parse(stdout);
    expect(read).toEqual({
      type: 'multipart/mixed',
      extra: [null, ''],
      parts: [
        ['application/pkcs8', null, expect.any(String)],
        ['application/pkcs7-mime', 'certs-only', expect.any(String)],
      ],
      defects: [],
    });
    const [key, certs] = read.parts.map((part: string[]) => Buffer.from(String(part[2]), 'base64'));
    const [leaf] = parseCertsOnly(certs);
    const privateKey = createPrivateKey({ key, format: 'der', type: 'pkcs8' });
    expect(new X509Certificate(leaf ?? '').checkPrivateKey(privateKey)).toBe(true);
  },
);

test('writes no key to the log', async () => {
  const response = await ask(basic('device-1', TICKET));
  const [key] = partsOf(response);
  expect(JSON.stringify(gateway.log)).not.toContain(key?.content.slice(40, 80));
});

test.each(['', '/nobody', '/presses'])('is not there where the policy does not say so (%s)', async (label) => {
  gateway.groups.set('default', DEFAULT_POLICY);
  gateway.groups.set('presses', DEFAULT_POLICY);
  const headers = label === '' ? {} : basic('device-1', TICKET);
  const response = await ask(headers, `/.well-known/est${label}/serverkeygen`);
  expect(response.status).toBe(404);
  expect(response.body).toMatch(label === '/nobody' ? /^LABEL_UNKNOWN: / : /^SERVER_KEYGEN_OFF: /);
  expect(gateway.asked).toEqual([]);
});

test('asks for credentials where there is such a thing, and refuses as an enrollment is refused', async () => {
  const anonymous = await ask();
  expect(anonymous.status).toBe(401);
  expect(anonymous.headers['www-authenticate']).toBe('Basic realm="gatehouse"');
  expect((await ask(basic('device-1', 'wrong'))).status).toBe(401);
  expect((await ask(basic('device-1', TICKET), KEYGEN, 'not base64!')).body).toMatch(/^BODY_NOT_BASE64: /);
  expect((await ask({ ...basic('device-1', TICKET), 'Content-Type': 'text/plain' })).status).toBe(415);
});
