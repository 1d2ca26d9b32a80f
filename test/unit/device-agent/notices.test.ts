import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { OID } from '#ca/pkix/oids.ts';
import { decideNotice } from '#device-agent/domain/notice-decision.ts';
import {
  EMPTY_NOTICE_MEMORY,
  MAX_HANDLED_NOTICES,
  type NoticeMemory,
  parseNoticeMemory,
  rememberAcknowledged,
  rememberNotice,
} from '#device-agent/domain/notice-memory.ts';
import { readNotice } from '#device-agent/domain/read-notice.ts';
import { parseDeviceId } from '#gateway/contract/device-id.ts';
import type { Notice, NoticeBody } from '#gateway/contract/notice.ts';
import { RunningDevices } from '#test/fixtures/device-agent/running-devices.ts';
import { TestAuthority } from '#test/fixtures/device-agent/test-authority.ts';
import { TestGateway } from '#test/fixtures/device-agent/test-gateway.ts';

const RENEW: NoticeBody = {
  kind: 'renew',
  body: { serial: 'aa', suggestedWindow: { start: 1, end: 2 }, reason: '', rekey: true },
};

let gateway: TestGateway;
let anchors: Buffer[];
beforeAll(async () => {
  gateway = await TestGateway.start();
  anchors = [gateway.authority.rootDer];
});
afterAll(() => gateway.stop());

const read = (jws: string) => readNotice(jws, { anchors, at: Date.now() }).notice;

describe('a notice', () => {
  test('is read when a notice signer of the pinned root made it', () => {
    expect(read(gateway.formatNotice(RENEW).jws)).toMatchObject({ deviceId: 'pump-17', ...RENEW });
  });
  test('keeps its meaning when a newer gateway adds fields', () => {
    const { jws } = gateway.formatNotice(RENEW, { ...({ priority: 'high' } as object) });
    expect(read(jws)).toMatchObject(RENEW);
  });
  test('of an unknown version or kind is refused', () => {
    expect(() => read(gateway.formatNotice(RENEW, { version: 2 as 1 }).jws)).toThrow(/does not understand/);
    expect(() => read(gateway.formatNotice(RENEW, { kind: 'wipe' as 'renew' }).jws)).toThrow(/does not understand/);
  });
  test('with a changed payload is refused', () => {
    const [header, payload, signature] = gateway.formatNotice(RENEW).jws.split('.');
    const changed = Buffer.from(
      Buffer.from(payload ?? '', 'base64url')
        .toString()
        .replace('"aa"', '"ab"'),
    ).toString('base64url');
    expect(() => read(`${header}.${changed}.${signature}`)).toThrow(/signature/);
  });
  test('typed as something else is refused', () => {
    expect(() => read(gateway.formatNotice(RENEW, { type: 'JWT' }).jws)).toThrow(/not typed/);
  });
  test.each(['', 'x', 'a.b.c', '{}', '..'])('that is garbage ("%s") is refused', (text) => {
    expect(() => read(text)).toThrow(expect.objectContaining({ code: 'NOTICE_REFUSED' }));
  });
  test('signed with a certificate for another purpose is refused', async () => {
    const server = await gateway.authority.issueNoticeSigner(OID.serverAuth);
    expect(() => read(gateway.formatNotice(RENEW, { signer: server }).jws)).toThrow(/purpose/);
  });
  test('signed under another root is refused', async () => {
    const foreign = await (await TestAuthority.create()).issueNoticeSigner();
    expect(() => read(gateway.formatNotice(RENEW, { signer: foreign }).jws)).toThrow(/no path/);
  });
  test('is judged without dates only when no clock can be trusted', () => {
    const { jws } = gateway.formatNotice(RENEW);
    expect(() => readNotice(jws, { anchors, at: 0 })).toThrow(/not valid yet/);
    expect(readNotice(jws, { anchors, at: undefined }).notice).toMatchObject(RENEW);
  });
});

describe('deciding about a notice', () => {
  const deviceId = parseDeviceId('pump-17');
  const notice: Notice = { version: 1, id: 'n1', deviceId, seq: 7, issuedAt: 100, expiresAt: 200, ...RENEW };
  const memory: NoticeMemory = { ...EMPTY_NOTICE_MEMORY, highestSeq: 6 };

  test('obeys the next one', () => {
    expect(decideNotice(notice, { deviceId, memory, now: 150 })).toEqual({ kind: 'act' });
  });
  test.each(['pump-18', '*', 'PUMP-17'])('leaves one for "%s" alone, without an answer', (other) => {
    expect(decideNotice({ ...notice, deviceId: other }, { deviceId, memory, now: 150 })).toMatchObject({
      kind: 'refuse',
      answer: false,
    });
  });
  test.each([6, 5, 0])('does not obey an old recording (seq %i)', (seq) => {
    expect(decideNotice({ ...notice, seq }, { deviceId, memory, now: 150 })).toMatchObject({
      kind: 'refuse',
      answer: true,
    });
  });
  test('does not obey an expired one, unless there is no clock to tell', () => {
    expect(decideNotice(notice, { deviceId, memory, now: 201 })).toMatchObject({ kind: 'refuse', answer: true });
    expect(decideNotice(notice, { deviceId, memory, now: undefined })).toEqual({ kind: 'act' });
  });
  test('answers a repeated one as before, also after it expired', () => {
    const known = rememberNotice(memory, { id: 'n1', seq: 7, outcome: 'done' });
    expect(decideNotice(notice, { deviceId, memory: known, now: 999 })).toMatchObject({
      kind: 'repeat',
      handled: { outcome: 'done' },
    });
  });
});

describe('the memory of notices', () => {
  test('never lowers the highest seq and keeps the newest ids', () => {
    let memory = EMPTY_NOTICE_MEMORY;
    for (let seq = 0; seq < 100; seq += 1) memory = rememberNotice(memory, { id: `n${seq}`, seq, outcome: 'done' });
    memory = rememberNotice(memory, { id: 'old', seq: 3, outcome: 'failed' });
    expect(memory.highestSeq).toBe(99);
    expect(memory.handled).toHaveLength(MAX_HANDLED_NOTICES);
    expect(memory.handled.at(-1)?.id).toBe('old');
  });
  test('has a changed outcome told again', () => {
    let memory = rememberNotice(EMPTY_NOTICE_MEMORY, { id: 'n', seq: 1, outcome: 'received' });
    memory = rememberAcknowledged(memory, 'n', 'received');
    memory = rememberNotice(memory, { id: 'n', outcome: 'done' });
    expect(memory.handled).toEqual([{ id: 'n', outcome: 'done', acknowledged: false }]);
    expect(rememberAcknowledged(memory, 'n', 'received').handled[0]?.acknowledged).toBe(false);
  });
  test('survives writing and reading, and nonsense is told apart', () => {
    const memory = rememberNotice(
      { ...EMPTY_NOTICE_MEMORY, order: { noticeId: 'n', serial: 'aa', at: 5 } },
      { id: 'n', seq: 1, outcome: 'received' },
    );
    expect(parseNoticeMemory(JSON.parse(JSON.stringify(memory)))).toEqual(memory);
    for (const nonsense of [
      undefined,
      null,
      1,
      {},
      { version: 1, highestSeq: 'x', handled: [] },
      { version: 1, highestSeq: 1, handled: [1] },
    ]) {
      expect(parseNoticeMemory(nonsense)).toBeUndefined();
    }
  });
});

describe('a running agent and its notices', () => {
  test('obeys none that is forged, foreign, old or expired, and answers only its own', async () => {
    const devices = new RunningDevices();
    try {
      const { serial } = await devices.enrolled(gateway);
      const foreignSigner = await (await TestAuthority.create()).issueNoticeSigner();
      const forged = gateway.renewNotice(serial, { signer: foreignSigner });
      const foreign = gateway.renewNotice(serial, { deviceId: 'pump-18' });
      const expired = gateway.renewNotice(serial, { expiresAt: Date.now() - 1000 });
      const old = gateway.renewNotice(serial, { seq: 0 });
      await gateway.until(() => gateway.acks(old).length > 0 && gateway.acks(expired).length > 0);
      expect(gateway.acks(expired)).toEqual(['failed']);
      expect(gateway.acks(old)).toEqual(['failed']);
      expect([...gateway.acks(forged), ...gateway.acks(foreign)]).toEqual([]);
      expect(gateway.calls).toHaveLength(1);
    } finally {
      await devices.stopAll();
    }
  });

  test('answers the same notice again without doing it again, also after a restart', async () => {
    const devices = new RunningDevices();
    try {
      const { serial, deps, agent } = await devices.enrolled(gateway);
      const calls = gateway.calls.length;
      const { id, jws } = gateway.formatNotice(
        { kind: 'renew', body: { serial, suggestedWindow: { start: 1, end: 2 }, reason: '', rekey: true } },
        { seq: 1000 },
      );
      const topic = 'v1/d/pump-17/in/notice';
      gateway.send(topic, jws);
      await gateway.until(() => gateway.acks(id).includes('done'));
      gateway.send(topic, jws);
      await gateway.until(() => gateway.acks(id).filter((outcome) => outcome === 'done').length === 2);
      await agent.stop();
      const reports = gateway.states().length;
      await devices.start(deps);
      await gateway.until(() => gateway.states().length > reports);
      gateway.send(topic, jws);
      await gateway.until(() => gateway.acks(id).filter((outcome) => outcome === 'done').length === 3);
      expect(gateway.calls).toHaveLength(calls + 1);
    } finally {
      await devices.stopAll();
    }
  });

  test('notes a window that it is told, keeps it over a restart, and renews later than it meant to', async () => {
    const devices = new RunningDevices();
    try {
      const { serial, deps, agent } = await devices.enrolled(gateway);
      const calls = gateway.calls.length;
      const { certificate, nextRenewalAt } = agent.status();
      const start = ((nextRenewalAt ?? 0) + 2 * (certificate?.notAfter ?? 0)) / 3;
      const window = { start: Math.round(start), end: Math.round(start) + 1000 };
      const id = gateway.windowNotice(serial, window);
      await gateway.until(() => gateway.acks(id).includes('done'));
      const isPlanned = (at: unknown) => typeof at === 'number' && at >= window.start && at <= window.end;
      await gateway.until(() => isPlanned(gateway.states().at(-1)?.['nextRenewalAt']));
      expect(agent.status().nextRenewalAt).toSatisfy(isPlanned);
      await agent.stop();
      const again = await devices.start(deps);
      expect(again.agent.status().nextRenewalAt).toSatisfy(isPlanned);
      expect(gateway.calls).toHaveLength(calls);
    } finally {
      await devices.stopAll();
    }
  });

  test('renews at once when it is ordered to, whatever window it was told', async () => {
    const devices = new RunningDevices();
    try {
      const { serial } = await devices.enrolled(gateway);
      const start = Date.now() + 5 * 24 * 3600_000;
      const window = gateway.windowNotice(serial, { start, end: start + 60_000 });
      await gateway.until(() => gateway.acks(window).includes('done'));
      const order = gateway.renewNotice(serial);
      await gateway.until(() => gateway.acks(order).includes('done'));
    } finally {
      await devices.stopAll();
    }
  });

  test('answers a window for a certificate that it has replaced, and does nothing', async () => {
    const devices = new RunningDevices();
    try {
      const { agent } = await devices.enrolled(gateway);
      const { nextRenewalAt } = agent.status();
      const id = gateway.windowNotice('00', { start: Date.now(), end: Date.now() + 1 });
      await gateway.until(() => gateway.acks(id).includes('done'));
      expect(agent.status().nextRenewalAt).toBe(nextRenewalAt);
    } finally {
      await devices.stopAll();
    }
  });
});
