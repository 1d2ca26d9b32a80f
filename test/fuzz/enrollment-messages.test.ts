import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type CsrAttribute, formatCsrAttributes, parseCsrAttributes, readCsrWishes } from '#ca/pkix/csr-attributes.ts';
import { integer, oid, sequence } from '#ca/pkix/der.ts';
import { formatName } from '#ca/pkix/name.ts';
import { OID } from '#ca/pkix/oids.ts';
import { formatPem } from '#ca/pkix/pem.ts';
import { PkixError } from '#ca/pkix/pkix-error.ts';
import { formatRequestTemplate, parseRequestTemplate } from '#ca/pkix/request-template.ts';
import { keyAttribute, wantedKeyOf } from '#ca/pkix/wanted-key.ts';
import { AgentError } from '#device-agent/domain/agent-error.ts';
import { parseCsrAnswer } from '#device-agent/domain/csr-answer.ts';
import { readClaimFile } from '#device-agent/domain/read-claim-file.ts';
import { asksForBinding } from '#device-agent/domain/read-csr-attributes.ts';
import type { ClaimFile } from '#gateway/contract/claim-file.ts';
import { type CsrAnswer, REQUEST_ID } from '#gateway/contract/csr-messages.ts';
import { parseDeviceId } from '#gateway/contract/device-id.ts';
import { KEY_KINDS } from '#gateway/contract/operator-api.ts';
import { type ParsedCsrMessage, parseCsrMessage } from '#gateway/mqtt/parse-csr-message.ts';
import { CommandError } from '#scripts/command-line/command-error.ts';
import { type CsvCell, parseCsv } from '#scripts/command-line/parse-csv.ts';
import { readDeviceList } from '#scripts/command-line/read-device-list.ts';
import { readEkList } from '#scripts/command-line/read-ek-list.ts';
import { makeCertificate, makeRoot, NOW } from '#test/fixtures/ca/certificates.ts';
import { tempFolder } from '#test/fixtures/ca/temp-folder.ts';
import { fuzzBytesParser, fuzzTextParser } from './fuzz-parser.ts';
import { holdsFor, holdsForAsync } from './fuzz-runs.ts';
import { mutatedBytes, randomOctets } from './mutate-bytes.ts';
import { mutatedDer } from './mutate-der.ts';
import { mutatedJson } from './mutate-json.ts';

const toBytes = (text: string) => Buffer.from(text, 'utf8');
const base64 = (bytes: number) => Buffer.alloc(bytes, 7).toString('base64');
const tpmChallenge = { version: 1, ekCertificate: base64(900), ekChain: [base64(30)], akPublic: base64(90) };
const messages = [
  { version: 1, requestId: 'r-1', csr: base64(300) },
  { version: 1, requestId: 'r-2', tpmChallenge },
];

fuzzBytesParser<ParsedCsrMessage>({
  name: 'parseCsrMessage',
  valid: messages.map((message) => toBytes(JSON.stringify(message))),
  mutated: [mutatedJson(messages).map(toBytes)],
  parse: parseCsrMessage,
  holds: (message) => {
    // It goes into an answer and a log.
    if (message.requestId !== undefined) expect(message.requestId).toMatch(REQUEST_ID);
    if (message.kind === 'csr') expect(message.csr.length).toBeGreaterThan(0);
    if (message.kind === 'invalid') expect(message.why.length).toBeLessThan(500);
  },
});

describe('parseCsrMessage', () => {
  it('answers lengths that are no numbers, however deep they are nested', () => {
    const length = `{"length":${'['.repeat(20_000)}${']'.repeat(20_000)}}`;
    for (const text of [
      `{"version":1,"requestId":"r-1","csr":${length}}`,
      `{"version":1,"requestId":${length},"csr":"AAAA"}`,
      `{"version":1,"requestId":"r-1","tpmChallenge":{"version":1,"akPublic":"AAAA","ekChain":${length}}}`,
    ]) {
      expect(parseCsrMessage(toBytes(text)).kind).toBe('invalid');
    }
  });
});

const answers: CsrAnswer[] = [
  {
    version: 1,
    requestId: 'r-1',
    status: 200,
    code: 'ISSUED',
    detail: '',
    attemptId: 'a-1',
    transient: false,
    certificate: base64(300),
    chain: [base64(300), base64(300)],
  },
  {
    version: 1,
    requestId: 'r-1',
    status: 202,
    code: 'APPROVAL_PENDING',
    detail: 'a person decides',
    attemptId: 'a-1',
    transient: true,
    retryAfter: 60,
  },
];

fuzzBytesParser<CsrAnswer>({
  name: 'parseCsrAnswer',
  valid: answers.map((answer) => toBytes(JSON.stringify(answer))),
  mutated: [mutatedJson(answers).map(toBytes)],
  parse: parseCsrAnswer,
  holds: (answer) => {
    expect(Number.isInteger(answer.status)).toBe(true);
    // They go to terminals and logs.
    for (const text of [answer.code, answer.detail, answer.attemptId]) expect(text).not.toMatch(/\p{Cc}/u);
    expect(answer.chain?.every((item) => typeof item === 'string') ?? true).toBe(true);
    if (answer.retryAfter !== undefined) expect(answer.retryAfter).toBeGreaterThanOrEqual(0);
  },
});

const root = makeRoot();
const claim = makeCertificate({ issuer: root });
const file: ClaimFile = {
  kind: 'gatehouse-claim',
  version: 1,
  deviceId: parseDeviceId('pump-1'),
  trustDomain: 'gatehouse.internal',
  est: { host: '10.0.0.1', port: 8443 },
  mqtt: { host: '10.0.0.1', port: 8883 },
  root: formatPem('CERTIFICATE', root.certificate.der),
  certificates: formatPem('CERTIFICATE', claim.certificate.der) + formatPem('CERTIFICATE', root.certificate.der),
  privateKey: claim.key.privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(),
  expiresAt: NOW,
};
const secret = file.privateKey.split('\n')[1] ?? '';

fuzzTextParser<ClaimFile>({
  name: 'readClaimFile',
  valid: [JSON.stringify(file)],
  mutated: [mutatedJson([file])],
  parse: (text) => {
    try {
      return readClaimFile(text);
    } catch (error) {
      // It holds a private key: the error goes to terminals and logs.
      if (error instanceof Error) expect(`${error.message} ${String(error.cause)}`).not.toContain(secret);
      throw error;
    }
  },
  refusesWith: AgentError,
  holds: (read) => expect(readClaimFile(JSON.stringify(read))).toEqual(read),
  runs: 500,
});

const templates = KEY_KINDS.map((kind) =>
  formatRequestTemplate({
    subject: formatName({ commonName: 'x' }),
    key: wantedKeyOf(kind),
    attributes: [{ oid: OID.challengePassword, values: [] }],
  }),
);
const templateItems = templates.map(
  (template): CsrAttribute => ({
    oid: OID.certificationRequestInfoTemplate,
    values: [template],
  }),
);
const wanted = [
  formatCsrAttributes([]),
  formatCsrAttributes([{ oid: OID.challengePassword }, keyAttribute(wantedKeyOf('ec-p256'))]),
  formatCsrAttributes([
    keyAttribute(wantedKeyOf('rsa-3072')),
    { oid: OID.extensionRequest, values: [sequence(integer(1))] },
  ]),
  ...templateItems.map((item) => formatCsrAttributes([item])),
];

fuzzBytesParser<CsrAttribute[]>({
  name: 'parseCsrAttributes',
  valid: wanted,
  mutated: [mutatedDer(wanted)],
  parse: parseCsrAttributes,
  refusesWith: PkixError,
  // An OID we have not written ourselves must not stay in the encoder's memory, so types are only read again.
  holds: (items) => expect(items.every(({ oid: type }) => /^[0-2](\.\d+)+$/.test(type))).toBe(true),
});

fuzzBytesParser({
  name: 'readCsrWishes and asksForBinding',
  valid: wanted,
  mutated: [mutatedDer(wanted), mutatedDer(wanted)],
  parse: (bytes) => ({ ...readCsrWishes(bytes), asked: asksForBinding(bytes) }),
  refusesWith: PkixError,
  holds: ({ key, template, wantsBinding, asked }) => {
    if (key?.rsaBits !== undefined) expect(Number.isSafeInteger(key.rsaBits)).toBe(true);
    // A bare OID counts where there is no template (RFC 9908 4).
    if (template === undefined && asked) expect(wantsBinding).toBe(true);
  },
});

fuzzBytesParser({
  name: 'parseRequestTemplate',
  valid: templates,
  mutated: [mutatedDer(templates)],
  parse: parseRequestTemplate,
  refusesWith: PkixError,
  holds: ({ attributes }) => expect(Array.isArray(attributes)).toBe(true),
});

describe('CSR attributes with a template', () => {
  it('come back as they were written', () => {
    const attributes = fc.uniqueArray(fc.constantFrom(OID.challengePassword, OID.aaAttestation, OID.extensionRequest));
    holdsFor(200, fc.tuple(fc.constantFrom(...KEY_KINDS), attributes), ([kind, types]) => {
      const key = wantedKeyOf(kind);
      const listed = types.map((type) => ({ oid: type, values: [oid(type)] }));
      const read = parseRequestTemplate(formatRequestTemplate({ key, attributes: listed }));
      expect(read.key).toEqual(key);
      expect(new Set(read.attributes.map((attribute) => attribute.oid))).toEqual(new Set(types));
    });
  });
});

const csv = ['deviceId,owner\npump-1,"Smith, ""J"""\r\npump-2,x\n', '# c\na;b\n', '"a\nb",c'];

/** RFC 4180, every cell in quotes. */
function formatCsv(rows: readonly (readonly string[])[]): string {
  return rows.map((row) => `${row.map((cell) => `"${cell.replaceAll('"', '""')}"`).join(',')}\r\n`).join('');
}

fuzzTextParser<CsvCell[][]>({
  name: 'parseCsv',
  valid: csv,
  parse: (text) => parseCsv(text, 'file'),
  refusesWith: CommandError,
  holds: (rows, text) => {
    const lines = text.split(/\r\n|\n|\r/).length;
    for (const cell of rows.flat()) expect(cell.line >= 1 && cell.line <= lines && cell.column >= 1).toBe(true);
    const texts = rows.map((row) => row.map((cell) => cell.text));
    expect(parseCsv(formatCsv(texts), 'file').map((row) => row.map((cell) => cell.text))).toEqual(texts);
  },
});

describe('lists of an operator', () => {
  it('are read, or refused with the place of the fault, whatever the file holds', async () => {
    const path = join(tempFolder(), 'list.csv');
    const hash = 'ab'.repeat(32);
    const devices = `deviceId;group;owner;ekSha256\npump-1;default;"Smith; J";${hash}\npump-2;;;\n`;
    const eks = `sha256,device,note\n${hash},pump-1,a note\n# c\n${'cd'.repeat(32)}\n`;
    const content = fc.oneof(mutatedBytes([toBytes(devices), toBytes(eks)]), randomOctets);
    await writeFile(path, devices);
    expect(await readDeviceList(path)).toHaveLength(2);
    await writeFile(path, eks);
    expect(await readEkList(path)).toHaveLength(2);
    await holdsForAsync(200, content, async (bytes) => {
      await writeFile(path, bytes);
      for (const read of [readDeviceList, readEkList]) {
        const list = await read(path).catch((error: unknown) => error);
        if (list instanceof CommandError) continue;
        expect(list).toBeInstanceOf(Array);
        for (const { ekSha256 } of list as { ekSha256?: string }[]) expect(ekSha256 ?? hash).toMatch(/^[0-9a-f]{64}$/);
      }
    });
  });
});
