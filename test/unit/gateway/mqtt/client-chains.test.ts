import { execFile } from 'node:child_process';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { assertPartialChainUsable } from '#gateway/mqtt/partial-chain.ts';
import { type Authority, type Credential, createAuthority } from '#test/fixtures/mqtt/authority.ts';
import { RawClient } from '#test/fixtures/mqtt/raw-client.ts';
import { TestDoor } from '#test/fixtures/mqtt/test-door.ts';

const VERSIONS = ['TLSv1.2', 'TLSv1.3'] as const;
const HOUR = 3600 * 1000;

let authority: Authority;
let door: TestDoor;

beforeAll(async () => {
  authority = await createAuthority();
});
afterEach(() => door.close());

/** @returns why TLS refused this client. */
async function refusalOf(credential: Credential, version: (typeof VERSIONS)[number]): Promise<unknown> {
  door.refused.length = 0;
  const client = await RawClient.open(door, credential, { minVersion: version, maxVersion: version });
  await client.closed;
  await door.until(() => door.refused.length === 1);
  expect(door.requests).toEqual([]);
  return door.refused[0]?.code;
}

describe.each(VERSIONS)('with %s', (version) => {
  const only = { minVersion: version, maxVersion: version };

  test.each([
    ['its certificate alone', []],
    ['its certificate and the intermediate', ['intermediate']],
    ['its certificate, the intermediate and the root', ['intermediate', 'root']],
    ['its certificate and the root', ['root']],
  ] as const)('a device that sends %s connects, with a host name and without', async (_name, more) => {
    door = await TestDoor.open({}, { authority });
    const { credential } = await door.device('press-1');
    const chain = credential.pem + more.map((ca) => authority[ca].pem).join('');
    for (const servername of ['localhost', '']) {
      const client = await RawClient.open(door, { ...credential, chain }, { ...only, servername });
      expect(await client.connect({ clientId: 'press-1' })).toBe(0);
      await client.end();
    }
  });

  test('a certificate of another intermediate of our root is refused by TLS, before and after a reload', async () => {
    door = await TestDoor.open({}, { authority });
    const sibling = await authority.sibling();
    const namesake = await authority.sibling({ name: 'Test Intermediate' });
    const server = await authority.server();
    for (const round of ['before', 'after']) {
      for (const { issue } of [sibling, namesake]) {
        const leaf = await issue('press-1');
        const { root } = authority;
        for (const chain of [leaf.chain, leaf.pem, leaf.chain + root.pem, leaf.chain + authority.intermediate.pem]) {
          expect(await refusalOf({ ...leaf, chain }, version), round).toBe('TLS_FOREIGN_CERTIFICATE');
        }
      }
      door.door.reload({
        certificateChain: server.chain,
        privateKey: server.keyPem,
        issuers: [authority.intermediate.pem],
        manufacturers: [],
      });
    }
  });

  test('the intermediate is trusted to issue, not to connect', async () => {
    door = await TestDoor.open({}, { authority });
    expect(await refusalOf(authority.intermediate, version)).toBe('TLS_CERTIFICATE_WRONG_PURPOSE');
  });

  test('a certificate of a CA that our intermediate must not have made is refused by TLS', async () => {
    door = await TestDoor.open({}, { authority });
    const leaf = await (await authority.below()).issue('press-1');
    expect(await refusalOf(leaf, version)).toBe('TLS_CERTIFICATE_INVALID');
  });

  test('nobody is let in by an intermediate that has expired', async () => {
    door = await TestDoor.open({}, { authority });
    const expired = await authority.sibling({ notAfter: Date.now() - HOUR / 2 });
    const server = await authority.server();
    door.door.reload({
      certificateChain: server.chain,
      privateKey: server.keyPem,
      issuers: [expired.intermediate.pem],
      manufacturers: [],
    });
    expect(await refusalOf(await expired.issue('press-1'), version)).toBe('TLS_CERTIFICATE_EXPIRED');
  });
});

test('the intermediate is named to clients that choose their certificate by its issuer', async () => {
  door = await TestDoor.open({}, { authority });
  const said = await new Promise<string>((resolve) => {
    const child = execFile(
      'openssl',
      ['s_client', '-connect', `127.0.0.1:${door.port}`, '-tls1_2'],
      (_error, stdout, stderr) => resolve(stdout + stderr),
    );
    child.stdin?.end();
  });
  expect(said).toMatch(/Acceptable client certificate CA names\nCN\s?=\s?Test Intermediate\n/);
});

test('a door opens only on a Node whose servers use the context they are given', async () => {
  door = await TestDoor.open({}, { authority });
  expect(() => assertPartialChainUsable()).not.toThrow();
});
