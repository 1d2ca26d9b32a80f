import { beforeAll, describe, expect, test } from 'vitest';
import { formatCompactJws } from '#ca/pkix/compact-jws.ts';
import { OID } from '#ca/pkix/oids.ts';
import { FactBook } from '#device-agent/operations/fact-book.ts';
import { NoticeInbox } from '#device-agent/operations/notice-inbox.ts';
import { TimeKeeper } from '#device-agent/operations/time-keeper.ts';
import { parseDeviceId } from '#gateway/contract/device-id.ts';
import { NOTICE_JWS_TYPE, type Notice } from '#gateway/contract/notice.ts';
import type { NoticeAck } from '#gateway/contract/reports.ts';
import { memoryAgent } from '#test/fixtures/device-agent/memory-agent.ts';
import { TestAuthority } from '#test/fixtures/device-agent/test-authority.ts';

type Signer = Awaited<ReturnType<TestAuthority['issueNoticeSigner']>>;

/** What a test may take between two looks at the clock. */
const MINUTE_MS = 60_000;
const HOUR_MS = 3600_000;
const DAY_MS = 24 * HOUR_MS;
const deviceId = parseDeviceId('pump-17');

let authority: TestAuthority;
let stranger: TestAuthority;
let signer: Signer;
let strangersSigner: Signer;
let server: Signer;
beforeAll(async () => {
  [authority, stranger] = await Promise.all([TestAuthority.create(), TestAuthority.create()]);
  signer = await authority.issueNoticeSigner();
  strangersSigner = await stranger.issueNoticeSigner();
  server = await authority.issueNoticeSigner(OID.serverAuth);
});

type Wish = Partial<Omit<Notice, 'body'>> & { time?: number; by?: Signer; of?: TestAuthority; type?: string };

/** By default a good one, which says that it is now. */
function timeNotice({ time = Date.now(), by = signer, of = authority, type = NOTICE_JWS_TYPE, ...fields }: Wish = {}) {
  const now = Date.now();
  const head = { version: 1, id: 'n-1', deviceId, seq: 10, issuedAt: now, expiresAt: now + 60_000 };
  const payload = { ...head, kind: 'time', body: { time }, ...fields };
  return formatCompactJws({ payload, type, certificates: [by.der, of.intermediateDer], privateKey: by.key });
}

/** The same token with another octet at a place in one of its three parts. */
function withOtherOctet(token: string, part: 0 | 1 | 2): string {
  const parts = token.split('.').map((text) => Buffer.from(text, 'base64url'));
  const octets = parts[part] ?? Buffer.alloc(0);
  octets[octets.length - 5] = (octets.at(-5) ?? 0) ^ 1;
  return parts.map((bytes) => bytes.toString('base64url')).join('.');
}

/** What it says, changed by somebody who cannot sign. */
function withOtherTime(token: string, from: number, to: number): string {
  const [header = '', payload = '', signature = ''] = token.split('.');
  const said = Buffer.from(payload, 'base64url').toString().replace(`"time":${from}`, `"time":${to}`);
  return [header, Buffer.from(said).toString('base64url'), signature].join('.');
}

const no = () => Promise.reject(new Error('not asked for'));

/** A device whose wall clock is two hours ahead, and which has obeyed notices up to 9. */
async function device() {
  const clock = { now: () => Date.now() + 2 * HOUR_MS, monotonic: () => performance.now(), wait: async () => {} };
  const deps = memoryAgent({ clock });
  await deps.store.writeRecord('notices', { version: 1, highestSeq: 9, handled: [] });
  const time = await TimeKeeper.open(deps);
  const acks: NoticeAck[] = [];
  const hooks = {
    config: { deviceId } as never,
    anchors: () => [authority.rootDer],
    currentSerial: () => '',
    sendAck: async (ack: NoticeAck) => void acks.push(ack),
    onOrder: () => {},
    onWindow: () => {},
    onRevoked: () => {},
    obeyTrust: no,
    attest: no,
  };
  const inbox = await NoticeInbox.open({ ...deps, time, facts: await FactBook.open(deps) }, hooks);
  const aheadMs = () => time.now() - Date.now();
  return { inbox, acks, aheadMs, receive: (token: string) => inbox.receive(Buffer.from(token)) };
}

describe('a time notice', () => {
  test('of the gateway sets the clock of the agent right', async () => {
    const { receive, aheadMs, acks } = await device();
    await receive(timeNotice());
    expect(Math.abs(aheadMs())).toBeLessThan(MINUTE_MS);
    expect(acks.map(({ outcome }) => outcome)).toContain('done');
  });

  test.each<[string, () => string]>([
    ['with a signature that is wrong', () => withOtherOctet(timeNotice(), 2)],
    ['with another time than was signed', () => withOtherTime(timeNotice({ time: 1 }), 1, Date.now())],
    ['with a header that was changed', () => withOtherOctet(timeNotice(), 0)],
    ['without a signature', () => timeNotice().replace(/[^.]+$/, '')],
    ['signed under another root', () => timeNotice({ by: strangersSigner, of: stranger })],
    ['signed by a key that may not sign notices', () => timeNotice({ by: server })],
    ['signed as something else', () => timeNotice({ type: 'JWT' })],
    ['for another device', () => timeNotice({ deviceId: parseDeviceId('pump-18') })],
    ['for the whole fleet', () => timeNotice({ deviceId: '*' })],
    ['that is older than one already obeyed', () => timeNotice({ seq: 9 })],
    ['of a time at which its signer had no certificate', () => timeNotice({ time: Date.now() - 50 * 365 * DAY_MS })],
    ['of a time after it ends itself', () => timeNotice({ time: Date.now() + DAY_MS })],
  ])('%s does not move it', async (_, make) => {
    const { receive, aheadMs } = await device();
    await receive(make());
    expect(Math.abs(aheadMs() - 2 * HOUR_MS)).toBeLessThan(MINUTE_MS);
    // It was the notice, and not the agent, which then takes a good one.
    await receive(timeNotice({ id: 'n-2', seq: 11 }));
    expect(Math.abs(aheadMs())).toBeLessThan(MINUTE_MS);
  });

  test('sent again does not move it back to then', async () => {
    const { receive, aheadMs } = await device();
    // As long ago as its signer has a certificate.
    const then = Date.now() - 4 * MINUTE_MS;
    const before = timeNotice({ time: then, issuedAt: then });
    await receive(before);
    expect(Math.abs(aheadMs() + 4 * MINUTE_MS)).toBeLessThan(MINUTE_MS);
    await receive(timeNotice({ id: 'n-2', seq: 11 }));
    await receive(before);
    expect(Math.abs(aheadMs())).toBeLessThan(MINUTE_MS);
  });
});
