import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { openFileJournal } from '#ca/keys/file-journal.ts';
import { formatJournalLine, parseJournalLine, readJournalLineHead } from '#ca/keys/journal-line.ts';
import { parseCertificate, verifyCertificateSignature } from '#ca/pkix/certificate.ts';
import { AuthorityError } from '#ca/ports/certificate-authority.ts';
import type { JournalEntry } from '#ca/ports/journal.ts';
import { parseCrl } from '#ca/revocation/parse-crl.ts';
import { answerRequest } from '#ca/socket/answer-request.ts';
import { type Frame, FrameError, FrameReader, formatFrame } from '#ca/socket/frame.ts';
import { deviceOrder, newSerial, openTestAuthority } from '#test/fixtures/ca/authority.ts';
import { NOW } from '#test/fixtures/ca/certificates.ts';
import { makeKey } from '#test/fixtures/ca/keys.ts';
import { tempFolder } from '#test/fixtures/ca/temp-folder.ts';
import { fuzzBytesParser } from './fuzz-parser.ts';
import { holdsFor, holdsForAsync } from './fuzz-runs.ts';
import { mutatedBytes, randomOctets } from './mutate-bytes.ts';
import { mutatedDer } from './mutate-der.ts';
import { mutatedJson } from './mutate-json.ts';

const serial = newSerial();
const entries: JournalEntry[] = [
  { kind: 'intent', at: NOW, serial, profile: 'device', subject: 'CN=pump "1"', orderSha256: 'ab', tbs: 'MAA=' },
  { kind: 'certificate', at: NOW, serial, orderSha256: 'ab', der: 'MAA=' },
  { kind: 'crl', at: NOW, number: 7, thisUpdate: NOW, sha256: 'cd' },
];
const lines = entries.map((entry) => Buffer.from(formatJournalLine(entry).trimEnd(), 'utf8'));

fuzzBytesParser<JournalEntry>({
  name: 'parseJournalLine',
  valid: lines,
  mutated: [mutatedJson(entries).map((text) => Buffer.from(text, 'utf8'))],
  parse: parseJournalLine,
  holds: (entry, line) => {
    // A start reads heads, a look-up whole lines: both see the same.
    const head = readJournalLineHead(line);
    expect(entry).toMatchObject(head ?? {});
    expect(head).toBeDefined();
    expect(parseJournalLine(Buffer.from(formatJournalLine(entry).trimEnd(), 'utf8'))).toEqual(entry);
  },
});

describe('a journal', () => {
  it('with a spoilt end keeps every line before it, or refuses to be opened', async () => {
    const path = join(tempFolder(), 'journal.jsonl');
    const whole = Buffer.concat(lines.flatMap((line) => [line, Buffer.of(10)]));
    await holdsForAsync(60, fc.oneof(mutatedBytes([whole, ...lines]), randomOctets), async (end) => {
      await writeFile(path, Buffer.concat([whole, end]));
      const journal = await openFileJournal(path).catch((error: unknown) => {
        if (!(error instanceof AuthorityError)) throw error;
        return undefined;
      });
      await journal?.close();
      const kept = await readFile(path);
      expect(kept.subarray(0, whole.length)).toEqual(whole);
      // What was cut off was no line; what stayed are whole lines.
      expect(kept.at(-1)).toBe(10);
      await appendFile(path, '');
    });
  });
});

const json = fc.jsonValue({ maxDepth: 3 });
const frames = fc.array(fc.tuple(json, fc.uint8Array({ maxLength: 200 })), { minLength: 1, maxLength: 4 });
const requests = [
  { id: 1, method: 'describe' },
  { id: 2, method: 'findIssued', serial },
  { id: 3, method: 'signCrl', number: 1, thisUpdate: NOW, nextUpdate: NOW + 1000 },
];

function write(list: readonly (readonly [unknown, Uint8Array])[]): Buffer {
  return Buffer.concat(list.flatMap(([value, attachment]) => formatFrame(value, attachment)));
}

/** In chunks of any sizes, as a socket gives them. */
function readIn(stream: Buffer, sizes: readonly number[]): Frame[] {
  const reader = new FrameReader();
  const read: Frame[] = [];
  let at = 0;
  for (let turn = 0; at < stream.length; turn += 1) {
    const size = sizes[turn % sizes.length] ?? 1;
    read.push(...reader.read(stream.subarray(at, at + size)));
    at += size;
  }
  return read;
}

/** @param text JSON as it is to stand there. @returns undefined when the connection would end here */
function readFrame(text: string, attachment: Buffer): Frame | undefined {
  const json = Buffer.from(text, 'utf8');
  const head = Buffer.alloc(8);
  head.writeUInt32BE(4 + json.length + attachment.length, 0);
  head.writeUInt32BE(json.length, 4);
  try {
    return new FrameReader().read(Buffer.concat([head, json, attachment]))[0];
  } catch (error) {
    if (error instanceof FrameError) return undefined;
    throw error;
  }
}

const sizes = fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1, maxLength: 8 });

describe('frames', () => {
  it('come back as they were written, however the stream is cut', () => {
    holdsFor(500, fc.tuple(frames, sizes), ([list, cut]) => {
      const expected = list.map(([value, attachment]) => ({
        json: JSON.parse(JSON.stringify(value)),
        attachment: Buffer.from(attachment),
      }));
      expect(readIn(write(list), cut)).toEqual(expected);
    });
  });
});

fuzzBytesParser({
  name: 'FrameReader',
  valid: [write(requests.map((request) => [request, Buffer.alloc(0)])), write([[requests[0], Buffer.alloc(300, 7)]])],
  parse: (stream) => readIn(stream, [stream.length || 1]),
  refusesWith: FrameError,
  holds: (read, stream) => {
    const octets = read.reduce((sum, { attachment }) => sum + attachment.length, 0);
    expect(octets).toBeLessThanOrEqual(stream.length);
    // The same through any cut.
    expect(readIn(stream, [1, 7, 3])).toEqual(read);
  },
});

describe('a request to the authority', () => {
  it('that is spoilt is refused in its own words, or does what a right one does', async () => {
    const { authority, intermediate } = await openTestAuthority();
    const { publicKey, ...order } = deviceOrder();
    const valid = [...requests, { id: 4, method: 'issue', order }];
    const key = fc.oneof(fc.constant(publicKey), mutatedDer([publicKey, makeKey('rsa-2048').spki]), randomOctets);
    const input = fc.tuple(mutatedJson(valid), key, fc.boolean());
    let answered = 0;
    await holdsForAsync(400, input, async ([text, attachment, isRight]) => {
      // A new serial each time: what was issued once is given again.
      const right = { id: 4, method: 'issue', order: { ...order, serial: newSerial() } };
      const frame = readFrame(isRight ? JSON.stringify(right) : text, attachment);
      if (frame === undefined) return;
      const unknown: unknown[] = [];
      const answer = await answerRequest(authority, frame, (error) => unknown.push(error));
      expect(unknown).toEqual([]);
      if (answer?.response.ok !== true || answer.attachment.length === 0) return;
      answered += 1;
      if (!isRight && text.includes('signCrl')) {
        parseCrl(answer.attachment);
        return;
      }
      const certificate = parseCertificate(answer.attachment);
      expect(verifyCertificateSignature(certificate, intermediate.certificate.publicKey)).toBe(true);
      expect(certificate.isCa).toBe(false);
    });
    expect(answered).toBeGreaterThan(0);
  });
});
