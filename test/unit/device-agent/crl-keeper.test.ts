import { mkdtemp, readdir, readFile, readlink, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { formatCompactJws } from '#ca/pkix/compact-jws.ts';
import { bitString, boolean, octetString, oid, sequence } from '#ca/pkix/der.ts';
import { formatExtension } from '#ca/pkix/extensions.ts';
import { OID } from '#ca/pkix/oids.ts';
import { formatPem } from '#ca/pkix/pem.ts';
import { CrlKeeper, type CrlKeeperDeps } from '#device-agent/operations/crl-keeper.ts';
import { FactBook } from '#device-agent/operations/fact-book.ts';
import { TimeKeeper } from '#device-agent/operations/time-keeper.ts';
import type { Log } from '#device-agent/ports/log.ts';
import { fetchDocument } from '#device-agent/runtime/fetch-document.ts';
import { FileCrlFolder } from '#device-agent/state/file-crl-folder.ts';
import { MemoryStateStore } from '#device-agent/state/memory-state-store.ts';
import { NOTICE_JWS_TYPE, type RevocationsBody, type RevocationsEntry } from '#gateway/contract/notice.ts';
import { DAY, type Made, makeCertificate, makeIntermediate, makeRoot, NOW } from '#test/fixtures/ca/certificates.ts';
import { type CrlDraft, makeCrl as makeAnyCrl } from '#test/fixtures/device-agent/make-crl.ts';
import { run } from '#test/fixtures/processes/program.ts';

const MINUTE = 60_000;
const root = makeRoot();
const intermediate = makeIntermediate(root);
const mayNotify = [formatExtension(OID.extendedKeyUsage, false, sequence(oid(OID.gatehouseNoticeSigner)))];
const signer = makeCertificate({ issuer: intermediate, extensions: mayNotify });

type Kept = { message: string; facts: unknown };

/** The same key and name, in a certificate that lets it certify and no more. */
function withoutCrlSign({ key, certificate }: Made): Made {
  const extensions = [
    formatExtension(OID.basicConstraints, true, sequence(boolean(true))),
    formatExtension(OID.keyUsage, true, bitString(Buffer.of(0x04), 2)),
    formatExtension(OID.subjectKeyIdentifier, false, octetString(Buffer.alloc(20, 3))),
  ];
  return makeCertificate({ key, subject: certificate.subject, issuer: root, extensions, notAfter: NOW + DAY });
}

let folder: string;
let server: Server;
let url: string;
let serve: (request: IncomingMessage, response: ServerResponse) => void;
let asked: IncomingMessage[];
let lines: Kept[];
let keepers: CrlKeeper[];
let heard: (() => void)[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'crl-keeper-'));
  [asked, lines, keepers, heard] = [[], [], [], []];
  wall = NOW;
  server = createServer((request, response) => {
    asked.push(request);
    serve(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/crl/intermediate.crl`;
});
afterEach(async () => {
  await Promise.all(keepers.map((keeper) => keeper.stop()));
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  await rm(folder, { recursive: true, force: true });
});

/** A clock on which waiting takes no time but is remembered. */
const waits: number[] = [];
let wall = NOW;
const clock = {
  now: () => wall,
  monotonic: () => performance.now(),
  wait: async (ms: number) => {
    waits.push(ms);
    await new Promise((resolve) => setImmediate(resolve));
  },
};

function keep(message: string, facts?: unknown): void {
  lines.push({ message, facts });
  for (const listener of heard.splice(0)) listener();
}

async function open(
  store = new MemoryStateStore(),
  fraction = 0.5,
  trusted: { anchors: Made[]; issuers: Made[] } = { anchors: [root], issuers: [intermediate] },
) {
  waits.length = 0;
  const log: Log = { debug: keep, info: keep, warn: keep, error: keep };
  const randomness = { fraction: () => fraction, bytes: (n: number) => Buffer.alloc(n) };
  const deps: CrlKeeperDeps = {
    crl: new FileCrlFolder(folder, fetchDocument),
    clock,
    randomness,
    log,
    time: await TimeKeeper.open({ store, clock }),
    facts: await FactBook.open({ store, log }),
  };
  const keeper = await CrlKeeper.open(deps, {
    anchors: () => trusted.anchors.map(({ certificate }) => certificate.der),
    issuers: () => trusted.issuers.map(({ certificate }) => certificate.der),
  });
  keepers.push(keeper);
  keeper.start();
  deps.time.onSet = () => void keeper.hearAgain();
  return { keeper, facts: deps.facts, time: deps.time, store };
}

async function logged(message: string, count = 1): Promise<Kept[]> {
  for (;;) {
    const found = lines.filter((line) => line.message === message);
    if (found.length >= count) return found;
    await new Promise<void>((resolve) => heard.push(resolve));
  }
}

const makeCrl = (draft: Omit<CrlDraft, 'by'> & { by?: Made }) => makeAnyCrl({ by: intermediate, ...draft });

function makeNotice(body: Partial<RevocationsBody>, head: Record<string, unknown> = {}, by: Made = signer): Buffer {
  const { crlNumber = 1, seq = 1, full = true, since = 0, entries = [], crlUrl = url, issuers } = body;
  const payload = {
    version: 1,
    id: 'n-1',
    deviceId: '*',
    seq: crlNumber,
    issuedAt: NOW - 1000,
    expiresAt: NOW + DAY,
    kind: 'revocations',
    body: { crlNumber, seq, full, since, entries, crlUrl, ...(issuers === undefined ? {} : { issuers }) },
    ...head,
  };
  const certificates = [by.certificate.der, intermediate.certificate.der];
  return Buffer.from(formatCompactJws({ payload, type: NOTICE_JWS_TYPE, certificates, privateKey: by.key.privateKey }));
}

function serveCrl(crl: Buffer, etag = '"1"'): void {
  serve = (request, response) => {
    if (request.headers['if-none-match'] === etag) response.writeHead(304).end();
    else response.writeHead(200, { etag }).end(crl);
  };
}

const onDisk = (name: string) => readFile(join(folder, 'crl', name)).catch(() => undefined);
const revokedFile = async () => JSON.parse(String(await onDisk('revoked.json'))) as { revoked: { serial: string }[] };
const entry = (serial: string, code = 4, at = NOW): RevocationsEntry => [serial, code, Math.floor(at / 1000)];

it('fetches the CRL that a signed notice announces, verifies it and puts it where others find it', async () => {
  const crl = makeCrl({ number: 1 });
  serveCrl(crl);
  const { keeper, facts } = await open();
  await keeper.receive(makeNotice({ crlNumber: 1, entries: [entry('0a1b')] }));
  await logged('CRL fetched');
  expect(await onDisk('current.crl')).toEqual(crl);
  expect((await revokedFile()).revoked).toEqual([{ serial: '0a1b', reasonCode: 4, at: NOW }]);
  expect(facts.facts.crl).toMatchObject({ number: 1, nextUpdate: NOW + DAY });
  const keyId = intermediate.certificate.subjectKeyId;
  const files = [`${keyId}.crl`, 'all.pem', 'current.crl', 'issuers.pem', 'revoked.json'];
  expect((await readdir(join(folder, 'crl'))).toSorted()).toEqual(files.toSorted());
});

it('hears what it took for expired while its clock was years ahead, as soon as the gateway has told it the time', async () => {
  serveCrl(makeCrl({ number: 1 }));
  wall = NOW + 700 * DAY;
  const { keeper, time } = await open();
  await keeper.receive(makeNotice({ crlNumber: 1, entries: [entry('0a1b')] }));
  await logged('fleet notice refused');
  expect(await onDisk('revoked.json')).toBeUndefined();
  expect(await time.set(NOW, NOW + DAY)).toBe(true);
  await logged('CRL fetched');
  expect((await revokedFile()).revoked).toMatchObject([{ serial: '0a1b' }]);
});

it('waits a random time before it fetches a newer one, and not long before the first', async () => {
  serveCrl(makeCrl({ number: 1 }));
  const { keeper } = await open();
  await keeper.receive(makeNotice({ crlNumber: 1 }));
  await logged('CRL fetched');
  serveCrl(makeCrl({ number: 2 }), '"2"');
  await keeper.receive(makeNotice({ crlNumber: 2 }));
  await logged('CRL fetched', 2);
  expect(waits).toEqual([2500, 30_000]);
});

it('asks for nothing when the notice announces what it has, also after a restart', async () => {
  serveCrl(makeCrl({ number: 3 }));
  const { keeper, store } = await open();
  await keeper.receive(makeNotice({ crlNumber: 3 }));
  await logged('CRL fetched');
  await keeper.stop();
  const again = await open(store);
  await again.keeper.receive(makeNotice({ crlNumber: 3, seq: 2 }));
  await new Promise((resolve) => setImmediate(resolve));
  expect(asked).toHaveLength(1);
  expect(waits).toEqual([]);
});

it('asks conditionally, and tries again while the old one is still served', async () => {
  const first = makeCrl({ number: 1 });
  serveCrl(first);
  const { keeper } = await open();
  await keeper.receive(makeNotice({ crlNumber: 1 }));
  await logged('CRL fetched');
  await keeper.receive(makeNotice({ crlNumber: 2 }));
  await logged('CRL not fetched, the one before stays');
  expect(asked.at(-1)?.headers['if-none-match']).toBe('"1"');
  serveCrl(makeCrl({ number: 2 }), '"2"');
  await logged('CRL fetched', 2);
});

it.each<[string, () => Buffer]>([
  ['signed by another key', () => makeCrl({ number: 2, by: { ...intermediate, key: makeIntermediate(root).key } })],
  ['of an issuer that nobody vouches for', () => makeCrl({ number: 2, by: makeIntermediate(makeRoot()) })],
  ['of a certificate that is no CA', () => makeCrl({ number: 2, by: makeCertificate({ issuer: intermediate }) })],
  ['older than announced', () => makeCrl({ number: 1 })],
  ['from the future', () => makeCrl({ number: 2, thisUpdate: NOW + DAY, nextUpdate: NOW + 2 * DAY })],
  ['that holds only a part', () => makeCrl({ number: 2, shard: 'http://gate/crl/1.crl' })],
  ['cut off', () => makeCrl({ number: 2 }).subarray(0, 100)],
  ['that is none', () => Buffer.from('<html>')],
])('keeps the CRL it has when one comes that is %s, and says so', async (_, makeOther) => {
  const good = makeCrl({ number: 1, thisUpdate: NOW - 2 * MINUTE });
  serveCrl(good);
  const { keeper, facts } = await open();
  await keeper.receive(makeNotice({ crlNumber: 1 }));
  await logged('CRL fetched');
  serveCrl(makeOther(), '"other"');
  await keeper.receive(makeNotice({ crlNumber: 2 }));
  await logged('CRL not fetched, the one before stays');
  expect(await onDisk('current.crl')).toEqual(good);
  expect(facts.facts.crl).toMatchObject({ number: 1, error: { message: expect.stringMatching(/CRL/) } });
  serveCrl(makeCrl({ number: 2 }), '"2"');
  await logged('CRL fetched', 2);
  expect(facts.facts.crl).not.toHaveProperty('error');
});

it('takes no CRL of a CA that may certify and not sign lists', async () => {
  const other = withoutCrlSign(intermediate);
  serveCrl(makeCrl({ number: 1, by: other }));
  const { keeper } = await open(undefined, 0.5, { anchors: [root], issuers: [other, intermediate] });
  await keeper.receive(makeNotice({}));
  await logged('CRL not fetched, the one before stays');
  expect(await onDisk('current.crl')).toBeUndefined();
});

it('is told by a CRL what time it surely is', async () => {
  const thisUpdate = NOW - 30 * MINUTE;
  serveCrl(makeCrl({ number: 1, thisUpdate }));
  const { keeper, store } = await open();
  // The notice that announces it is much older.
  await keeper.receive(makeNotice({}, { issuedAt: NOW - 40 * DAY }));
  await logged('CRL fetched');
  expect(await store.readRecord('time-floor')).toMatchObject({ floor: thisUpdate });
});

it('takes no CRL older than announced, though it has none', async () => {
  serveCrl(makeCrl({ number: 6 }));
  const { keeper } = await open();
  await keeper.receive(makeNotice({ crlNumber: 7 }));
  await logged('CRL not fetched, the one before stays');
  expect(await onDisk('current.crl')).toBeUndefined();
});

it('gives up on a list larger than its disk should bear, and on a server that breaks off', async () => {
  serve = (_, response) => response.writeHead(200).end(Buffer.alloc(2000));
  const crl = new FileCrlFolder(folder, fetchDocument);
  const { signal } = new AbortController();
  const fetching = { etag: undefined, maxBytes: 1999, signal };
  await expect(crl.download(url, fetching)).rejects.toMatchObject({ code: 'ANSWER_UNFIT' });
  serve = (_, response) => {
    response.writeHead(200, { 'Content-Length': '100' });
    response.write('half');
    setImmediate(() => response.destroy());
  };
  await expect(crl.download(url, fetching)).rejects.toMatchObject({ code: 'GATEWAY_UNREACHABLE' });
  await expect(crl.download('file:///etc/passwd', fetching)).rejects.toMatchObject({ code: 'ANSWER_UNFIT' });
});

it.each<[string, () => Buffer]>([
  ['signed by a device', () => makeNotice({ crlNumber: 9 }, {}, makeCertificate({ issuer: intermediate }))],
  ['for one device', () => makeNotice({ crlNumber: 9 }, { deviceId: 'pump-1' })],
  ['of another kind', () => makeNotice({}, { kind: 'revoked', body: { serials: ['01'], reason: 'x', advice: '' } })],
  ['of a version that is not known', () => makeNotice({ crlNumber: 9 }, { version: 2 })],
  ['expired', () => makeNotice({ crlNumber: 9 }, { expiresAt: NOW - 1 })],
  ['no notice at all', () => Buffer.from('hello')],
])('refuses a fleet notice that is %s', async (_, make) => {
  const { keeper } = await open();
  await keeper.receive(make());
  expect(lines.map(({ message }) => message)).toContain('fleet notice refused');
  expect(asked).toEqual([]);
  expect(await onDisk('revoked.json')).toBeUndefined();
});

it('refuses a notice older than one it has heard, also over a restart and a gateway that counts anew', async () => {
  serveCrl(makeCrl({ number: 5 }));
  const { keeper, store } = await open();
  await keeper.receive(makeNotice({ crlNumber: 5, seq: 100, entries: [entry('aa')] }));
  await keeper.stop();
  const again = await open(store);
  await again.keeper.receive(makeNotice({ crlNumber: 4, seq: 200 }));
  await again.keeper.receive(makeNotice({ crlNumber: 5, seq: 99 }));
  expect((await revokedFile()).revoked).toMatchObject([{ serial: 'aa' }]);
  // Restored from a backup its changes count from lower down, and its CRL numbers do not.
  await again.keeper.receive(makeNotice({ crlNumber: 6, seq: 3, entries: [entry('bb')] }));
  expect((await revokedFile()).revoked).toMatchObject([{ serial: 'bb' }]);
});

it('keeps what an incomplete notice had no room for until the CRL has it, and knows what was released', async () => {
  serveCrl(makeCrl({ number: 1, thisUpdate: NOW - 60 * MINUTE }));
  const { keeper } = await open();
  await keeper.receive(
    makeNotice({ crlNumber: 1, seq: 1, full: false, entries: [entry('aa'), entry('01', 4, NOW - DAY)] }),
  );
  await logged('CRL fetched');
  const news = [entry('cc', 8), entry('cc', 6), entry('bb')];
  await keeper.receive(makeNotice({ crlNumber: 1, seq: 3, since: 1, full: false, entries: news }));
  expect(await revokedFile()).toMatchObject({
    revoked: [{ serial: 'bb' }, { serial: 'aa' }],
    released: ['cc'],
  });
  await keeper.receive(makeNotice({ crlNumber: 1, seq: 4, entries: [entry('dd')] }));
  expect((await revokedFile()).revoked).toMatchObject([{ serial: 'dd' }]);
});

const keyIdOf = ({ certificate }: Made) => certificate.subjectKeyId ?? '';
const toPem = (made: Made) => formatPem('CERTIFICATE', made.certificate.der);
const pathOf = (by: Made) => `/crl/${keyIdOf(by)}.crl`;

const issuerOf = (by: Made, crlNumber: number) => ({
  keyId: keyIdOf(by),
  crlNumber,
  crlUrl: new URL(pathOf(by), url).href,
});

/** @returns serves another list at this issuer's path from now on */
function serveEach(...lists: [Made, Buffer][]): (by: Made, crl: Buffer) => void {
  const served = new Map(lists.map(([by, crl]) => [pathOf(by), crl]));
  serve = (request, response) => response.writeHead(200).end(served.get(request.url ?? '') ?? '');
  return (by, crl) => served.set(pathOf(by), crl);
}

describe('while two CAs are in use', () => {
  const otherRoot = makeRoot({ name: 'the next root' });
  const other = makeIntermediate(otherRoot);
  /** One issued by the other CA is in use, both are trusted. */
  async function openBoth() {
    const trusted = { anchors: [root, otherRoot], issuers: [intermediate, other] };
    const opened = await open(new MemoryStateStore(), 0.5, trusted);
    return { ...opened, trusted };
  }

  async function judge(peer: Made): Promise<string> {
    const [trust, leaf] = [join(folder, 'trust.pem'), join(folder, 'peer.pem')];
    await writeFile(trust, toPem(root) + toPem(otherRoot));
    await writeFile(leaf, toPem(peer));
    const files = ['-untrusted', join(folder, 'crl/issuers.pem'), '-CRLfile', join(folder, 'crl/all.pem')];
    const args = ['verify', '-crl_check', '-attime', String(NOW / 1000), '-CAfile', trust, ...files, leaf];
    const { stdout, stderr } = await run('openssl', args);
    return stdout + stderr;
  }

  it('keeps the CRL of both, and openssl judges peers of both by the files alone', async () => {
    const peers = [intermediate, other].map((issuer) => makeCertificate({ issuer }));
    const revoked = [intermediate, other].map((issuer) => makeCertificate({ issuer }));
    const listOf = (by: Made, number: number) =>
      makeCrl({ by, number, serials: revoked.map(({ certificate }) => certificate.serial).toSorted() });
    serveEach([other, listOf(other, 7)], [intermediate, listOf(intermediate, 5)]);
    const { keeper, facts } = await openBoth();
    const issuers = [issuerOf(other, 7), issuerOf(intermediate, 5)];
    await keeper.receive(makeNotice({ crlNumber: 7, crlUrl: issuers[0]?.crlUrl ?? '', issuers }));
    await logged('CRL fetched', 2);
    await vi.waitUntil(() => facts.facts.crl?.others?.length === 1);
    expect(await readlink(join(folder, 'crl/current.crl'))).toBe(`${keyIdOf(other)}.crl`);
    expect(facts.facts.crl).toMatchObject({ issuer: keyIdOf(other), number: 7 });
    expect(facts.facts.crl?.others).toMatchObject([{ issuer: keyIdOf(intermediate), number: 5 }]);
    for (const peer of peers) expect(await judge(peer)).toContain('OK');
    for (const peer of revoked) expect(await judge(peer)).toContain('certificate revoked');
  });

  it('follows the issuer in use to one whose CRL it has, without fetching that again', async () => {
    serveEach([other, makeCrl({ by: other, number: 7 })], [intermediate, makeCrl({ number: 5 })]);
    const { keeper } = await openBoth();
    await keeper.receive(makeNotice({ crlNumber: 5, issuers: [issuerOf(intermediate, 5), issuerOf(other, 7)] }));
    await logged('CRL fetched', 2);
    await keeper.receive(makeNotice({ crlNumber: 7, issuers: [issuerOf(other, 7), issuerOf(intermediate, 5)] }));
    await vi.waitUntil(async () => (await readlink(join(folder, 'crl/current.crl'))) === `${keyIdOf(other)}.crl`);
    expect(asked).toHaveLength(2);
  });

  it.each<[string, () => Buffer]>([
    ['of the other CA', () => makeCrl({ by: other, number: 9 })],
    ['with the number it has', () => makeCrl({ number: 5 })],
    ['made before the one it has', () => makeCrl({ number: 6, thisUpdate: NOW - 5 * MINUTE })],
  ])('keeps the list of the older one when one comes that is %s', async (_, makeOther) => {
    const good = makeCrl({ number: 5 });
    const change = serveEach([other, makeCrl({ by: other, number: 7 })], [intermediate, good]);
    const { keeper, facts } = await openBoth();
    await keeper.receive(makeNotice({ crlNumber: 7, issuers: [issuerOf(other, 7), issuerOf(intermediate, 5)] }));
    await logged('CRL fetched', 2);
    change(intermediate, makeOther());
    await keeper.receive(
      makeNotice({ crlNumber: 7, seq: 2, issuers: [issuerOf(other, 7), issuerOf(intermediate, 6)] }),
    );
    await logged('CRL not fetched, the one before stays');
    await vi.waitUntil(() => facts.facts.crl?.error !== undefined);
    expect(await onDisk(`${keyIdOf(intermediate)}.crl`)).toEqual(good);
    change(intermediate, makeCrl({ number: 6 }));
    await logged('CRL fetched', 3);
    await vi.waitUntil(() => facts.facts.crl?.error === undefined);
  });

  it('lets the list of the older one go with its root, or when the gateway names it no more', async () => {
    const newer = makeCrl({ by: other, number: 7 });
    serveEach([other, newer], [intermediate, makeCrl({ number: 5 })]);
    const { keeper, trusted } = await openBoth();
    const both = [issuerOf(other, 7), issuerOf(intermediate, 5)];
    await keeper.receive(makeNotice({ crlNumber: 7, issuers: both }));
    await logged('CRL fetched', 2);
    await keeper.receive(makeNotice({ crlNumber: 7, seq: 2, issuers: [issuerOf(other, 7)] }));
    expect(await onDisk(`${keyIdOf(intermediate)}.crl`)).toBeUndefined();
    await keeper.receive(makeNotice({ crlNumber: 7, seq: 3, issuers: both }));
    await logged('CRL fetched', 3);
    trusted.anchors = [otherRoot];
    await keeper.anchorsChanged();
    expect(await onDisk(`${keyIdOf(intermediate)}.crl`)).toBeUndefined();
    expect(String(await onDisk('all.pem'))).toBe(formatPem('X509 CRL', newer));
    expect(String(await onDisk('issuers.pem'))).toBe(formatPem('CERTIFICATE', other.certificate.der));
    expect(await onDisk('current.crl')).toEqual(newer);
  });

  it('has both after a restart, also when the power went before all were in one file', async () => {
    serveEach([other, makeCrl({ by: other, number: 7 })], [intermediate, makeCrl({ number: 5 })]);
    const { keeper } = await openBoth();
    const notice = makeNotice({ crlNumber: 7, issuers: [issuerOf(other, 7), issuerOf(intermediate, 5)] });
    await keeper.receive(notice);
    await logged('CRL fetched', 2);
    await keeper.stop();
    const whole = await onDisk('all.pem');
    await writeFile(join(folder, 'crl/all.pem'), 'half');
    const again = await openBoth();
    expect(await onDisk('all.pem')).toEqual(whole);
    await again.keeper.receive(notice);
    expect(waits).toEqual([]);
    expect(asked).toHaveLength(2);
  });

  it('asks for no list of a CA that it does not trust', async () => {
    serveEach([intermediate, makeCrl({ number: 5 })]);
    const { keeper } = await open();
    await keeper.receive(makeNotice({ crlNumber: 5, issuers: [issuerOf(intermediate, 5), issuerOf(other, 7)] }));
    await logged('CRL fetched');
    await keeper.stop();
    expect(asked.map((request) => request.url)).toEqual([pathOf(intermediate)]);
  });
});
