import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatPem } from '#ca/pkix/pem.ts';
import { formatMessage, parseControlRequest } from '#device-agent/control/control-protocol.ts';
import { type AgentConfig, parseAgentConfig } from '#device-agent/domain/agent-config.ts';
import { AgentError } from '#device-agent/domain/agent-error.ts';
import { type GenerationMeta, parseGenerationMeta } from '#device-agent/domain/generation-meta.ts';
import { type NoticeMemory, parseNoticeMemory } from '#device-agent/domain/notice-memory.ts';
import { parseTimeFloor } from '#device-agent/domain/time-floor.ts';
import { FileStateStore } from '#device-agent/state/file-state-store.ts';
import { LAYOUT, RECORD_FILES } from '#device-agent/state/state-layout.ts';
import { parseTpmRecord } from '#device-agent/tpm/tpm-record.ts';
import { KEY_KINDS } from '#gateway/contract/operator-api.ts';
import { makeRoot, NOW } from '#test/fixtures/ca/certificates.ts';
import { tempFolder } from '#test/fixtures/ca/temp-folder.ts';
import { fuzzTextParser } from './fuzz-parser.ts';
import { holdsForAsync } from './fuzz-runs.ts';
import { mutatedText, randomOctets, randomText } from './mutate-bytes.ts';
import { mutatedJson } from './mutate-json.ts';

/** As the state folder reads its records. @returns undefined when it is not JSON */
function readJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function again(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}

const address = { host: '10.0.0.1', port: 8443 };
const config = {
  version: 1,
  est: address,
  mqtt: { host: '::1', port: 8883 },
  deviceId: 'pump-1',
  trustDomain: 'gatehouse.internal',
  rootSha256: 'ab'.repeat(32),
  keyProvider: 'tpm',
};

fuzzTextParser<AgentConfig>({
  name: 'agent.json',
  valid: [JSON.stringify(config)],
  mutated: [mutatedJson([config])],
  parse: (text) => parseAgentConfig(readJson(text)),
  refusesWith: AgentError,
  holds: (read) => {
    expect(['software', 'tpm']).toContain(read.keyProvider);
    expect(parseAgentConfig(again(read))).toEqual(read);
  },
});

const memory = {
  version: 1,
  highestSeq: 7,
  handled: [
    { id: 'n-1', outcome: 'done', acknowledged: true },
    { id: 'n-2', outcome: 'failed', detail: 'no', acknowledged: false },
  ],
  order: { noticeId: 'n-3', serial: '0a1b', at: NOW },
};

fuzzTextParser<NoticeMemory>({
  name: 'notices.json',
  valid: [JSON.stringify(memory)],
  mutated: [mutatedJson([memory])],
  parse: (text) => parseNoticeMemory(readJson(text)),
  holds: (read) => {
    expect(Number.isSafeInteger(read.highestSeq)).toBe(true);
    // A moment that never comes would be an order that is never obeyed and never given up.
    if (read.order !== undefined) expect(Number.isFinite(read.order.at)).toBe(true);
    expect(parseNoticeMemory(again(read))).toEqual(read);
  },
});

const meta = { version: 1, keyKind: 'ec-p384', createdAt: NOW, receivedAt: NOW + 1, attemptId: 'a-1' };

fuzzTextParser<GenerationMeta>({
  name: 'meta.json of a generation',
  valid: [JSON.stringify(meta)],
  mutated: [mutatedJson([meta])],
  parse: (text) => parseGenerationMeta(readJson(text)),
  holds: (read) => {
    expect(KEY_KINDS).toContain(read.keyKind);
    for (const time of [read.createdAt, read.receivedAt ?? 0]) expect(Number.isFinite(time)).toBe(true);
  },
});

fuzzTextParser({
  name: 'time-floor.json',
  valid: [JSON.stringify({ version: 1, floor: NOW })],
  mutated: [mutatedJson([{ version: 1, floor: NOW }])],
  parse: (text) => parseTimeFloor(readJson(text)),
  // It only rises, also from nonsense.
  holds: ({ floor }) => expect(Number.isSafeInteger(floor) && floor >= Date.UTC(2026, 0, 1)).toBe(true),
});

const tpm = { version: 1, tcti: 'device:/dev/tpmrm0', akHandle: 0x81010002, akName: '000b' };

fuzzTextParser({
  name: 'tpm.json',
  valid: [JSON.stringify(tpm)],
  mutated: [mutatedJson([tpm])],
  parse: (text) => parseTpmRecord(readJson(text)),
  holds: (read) => expect(read.akHandle >>> 24).toBe(0x81),
});

const controls = [{ op: 'status' }, { op: 'publish', subtopic: 'a/b', payload: 'x' }, { op: 'listen', filter: '#' }];

fuzzTextParser({
  name: 'parseControlRequest',
  valid: controls.map((request) => JSON.stringify(request)),
  mutated: [mutatedJson(controls)],
  parse: parseControlRequest,
  holds: (request) => expect(parseControlRequest(JSON.stringify(request))).toEqual(request),
});

describe('a message for an application', () => {
  it('comes back from its line, whatever its octets', async () => {
    await holdsForAsync(300, randomOctets, async (payload) => {
      const line = JSON.parse(JSON.stringify(formatMessage('t', payload))) as { payload: string; encoding?: 'base64' };
      expect(Buffer.from(line.payload, line.encoding ?? 'utf8')).toEqual(payload);
    });
  });
});

describe('the state folder', () => {
  it('is read, or refused as broken, whatever its files hold', async () => {
    const folder = tempFolder();
    const store = new FileStateStore(folder);
    const trust = formatPem('CERTIFICATE', makeRoot().certificate.der);
    await store.writeTrust([makeRoot().certificate.der]);
    const content = fc.oneof(mutatedText([trust, JSON.stringify(config)]), randomText);
    await holdsForAsync(100, content, async (text) => {
      await writeFile(join(folder, LAYOUT.trust), text);
      await writeFile(join(folder, RECORD_FILES.agent), text);
      // What is no JSON is as if it were not there: the parsers above judge the rest.
      await store.readRecord('agent');
      const anchors = await store.readTrust().catch((error: unknown) => error);
      if (!(anchors instanceof AgentError)) expect(anchors).toBeInstanceOf(Array);
    });
  });
});
