import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import type { PolicyQuestion } from '#gateway/ports/policy-webhook.ts';
import { createHttpsPolicyWebhook } from '#gateway/runtime/https-policy-webhook.ts';
import { loadWebhookOptions } from '#gateway/runtime/webhook-options.ts';
import { createTestAuthority, type TestAuthority } from '#test/fixtures/doors/certificates.ts';

const QUESTION: PolicyQuestion = {
  version: 1,
  attemptId: 'a-1',
  kind: 'enroll',
  deviceId: 'pump-17',
  group: 'pumps',
  owner: null,
  hardwareSerial: null,
  grounds: 'ticket:t-1',
  address: '10.1.2.3',
  keyKind: 'ec-p256',
  spkiSha256: '0'.repeat(64),
  proofLevel: 'software',
};

let authority: TestAuthority;
let server: Server;
let url: string;
let asked: { headers: IncomingMessage['headers']; body: string }[] = [];
let answerWith: (response: ServerResponse) => void;

beforeAll(async () => {
  authority = await createTestAuthority();
  const identity = await authority.issueServer();
  server = createServer(
    { key: identity.keyPem, cert: identity.pem + authority.intermediate.pem },
    (request, response) => {
      const parts: Buffer[] = [];
      request.on('data', (part: Buffer) => parts.push(part));
      request.on('end', () => {
        asked.push({ headers: request.headers, body: Buffer.concat(parts).toString() });
        answerWith(response);
      });
    },
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  url = `https://localhost:${(server.address() as AddressInfo).port}/policy`;
});

afterEach(() => {
  asked = [];
  server.closeAllConnections();
});

afterAll(() => server.close());

const webhook = (options: Parameters<typeof createHttpsPolicyWebhook>[0] = {}) =>
  createHttpsPolicyWebhook({ ca: [authority.root.pem], ...options });
const answering = (status: number, body: string, headers: Record<string, string> = {}) => {
  answerWith = (response) => response.writeHead(status, headers).end(body);
};

it.each([
  ['{"decision":"allow"}', { decision: 'allow', reason: null }],
  ['{"decision":"deny","reason":"stolen"}', { decision: 'deny', reason: 'stolen' }],
  ['{"decision":"ask","reason":"new site","more":1}', { decision: 'ask a person', reason: 'new site' }],
])('takes %s', async (body, verdict) => {
  answering(200, body);
  expect(await webhook().ask(url, QUESTION)).toEqual(verdict);
  expect(JSON.parse(asked[0]?.body ?? '')).toEqual(QUESTION);
});

it('signs what it asks, so that the other side knows who does', async () => {
  answering(200, '{"decision":"allow"}');
  await webhook({ secret: 'between us' }).ask(url, QUESTION);
  const expected = createHmac('sha256', 'between us')
    .update(asked[0]?.body ?? '')
    .digest('hex');
  expect(asked[0]?.headers['gatehouse-signature']).toBe(`sha256=${expected}`);
});

it.each([
  ['another status', 500, '{"decision":"allow"}', {}],
  ['a redirect, which it does not follow', 302, '', { Location: 'https://localhost/elsewhere' }],
  ['what is not JSON', 200, 'allow', {}],
  ['another word', 200, '{"decision":"yes"}', {}],
  ['nothing', 200, '', {}],
  ['too much', 200, `{"decision":"allow","x":"${'x'.repeat(70_000)}"}`, {}],
])('takes %s for no answer', async (_what, status, body, headers) => {
  answering(status, body, headers);
  await expect(webhook().ask(url, QUESTION)).rejects.toMatchObject({ code: 'WEBHOOK_FAILED' });
});

it('waits no longer than the deadline, also for one that sends a byte now and then', async () => {
  answerWith = (response) => {
    response.writeHead(200).write('{');
    const timer = setInterval(() => response.write(' '), 20);
    response.on('close', () => clearInterval(timer));
  };
  await expect(webhook({ deadlineMs: 500 }).ask(url, QUESTION)).rejects.toMatchObject({ code: 'WEBHOOK_FAILED' });
});

it('says whether it was too slow, away, or not to be believed', async () => {
  answerWith = () => {};
  await expect(webhook({ deadlineMs: 500 }).ask(url, QUESTION)).rejects.toThrow(/did not answer within 0\.5 s/);
  await expect(createHttpsPolicyWebhook().ask(url, QUESTION)).rejects.toThrow(
    /does not verify: SELF_SIGNED_CERT_IN_CHAIN|does not verify: UNABLE_TO/,
  );
  await expect(webhook().ask('https://127.0.0.1:1/', QUESTION)).rejects.toThrow(/cannot be reached.*ECONNREFUSED/);
});

it('does not talk to a server whose certificate it cannot verify', async () => {
  answering(200, '{"decision":"allow"}');
  await expect(createHttpsPolicyWebhook().ask(url, QUESTION)).rejects.toMatchObject({ code: 'WEBHOOK_FAILED' });
  const { port } = server.address() as AddressInfo;
  // Not a name of its certificate.
  await expect(webhook().ask(`https://127.0.0.2:${port}/`, QUESTION)).rejects.toMatchObject({ code: 'WEBHOOK_FAILED' });
  await expect(webhook().ask(`http://localhost:${port}/`, QUESTION)).rejects.toMatchObject({ code: 'WEBHOOK_FAILED' });
  expect(asked).toEqual([]);
});

it('does not collect questions without end', async () => {
  const held: ServerResponse[] = [];
  const isFull = Promise.withResolvers<void>();
  answerWith = (response) => {
    held.push(response);
    if (held.length === 16) isFull.resolve();
  };
  const hook = webhook();
  const answers = Array.from({ length: 16 }, () => hook.ask(url, QUESTION));
  await isFull.promise;
  await expect(hook.ask(url, QUESTION)).rejects.toMatchObject({ code: 'WEBHOOK_FAILED' });
  // Another system is asked all the same.
  const elsewhere = hook.ask(`${url}/other`, QUESTION);
  await expect.poll(() => held.length).toBe(17);
  for (const response of held) response.writeHead(200).end('{"decision":"allow"}');
  await elsewhere;
  expect((await Promise.all(answers)).every(({ decision }) => decision === 'allow')).toBe(true);
});

it('reads its options from files, and no secret that others may read', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'gatehouse-webhook-'));
  const files = { ca: join(folder, 'ca.pem'), secret: join(folder, 'secret') };
  try {
    expect(await loadWebhookOptions(files)).toEqual({});
    await writeFile(files.ca, authority.root.pem);
    await writeFile(files.secret, 'between us\n', { mode: 0o600 });
    expect(await loadWebhookOptions(files)).toEqual({ ca: [authority.root.pem], secret: 'between us' });
    await rm(files.secret);
    await writeFile(files.secret, 'between us\n', { mode: 0o644 });
    await expect(loadWebhookOptions(files)).rejects.toMatchObject({ code: 'KEY_FILE_EXPOSED' });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
