import { type Arbitrary, assert, constantFrom, double, integer, jsonValue, oneof, property, string } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseCompactJws } from '#ca/pkix/compact-jws.ts';
import { parseCsrAnswer } from '#device-agent/domain/csr-answer.ts';
import { readClaimFile } from '#device-agent/domain/read-claim-file.ts';
import { NOTICE_JWS_TYPE, parseNotice } from '#gateway/contract/notice.ts';
import { parseAgentState, parseNoticeAck } from '#gateway/contract/reports.ts';
import { describeMqtt } from '#gateway/mqtt/asyncapi/describe-mqtt.ts';
import { parseCsrMessage } from '#gateway/mqtt/parse-csr-message.ts';
import { TestAuthority } from '#test/fixtures/device-agent/test-authority.ts';
import { claimOf } from '#test/fixtures/device-agent/ways-to-enroll.ts';
import { AsyncApiDocument, type JsonSchema } from '#test/fixtures/mqtt/asyncapi-document.ts';

const RUNS = 1000;

const described = new AsyncApiDocument(
  JSON.parse(JSON.stringify(describeMqtt({ version: '1.2.3', address: { host: 'gateway.example', port: 8883 } }))),
);

type Json = unknown;

/** What a field is replaced with: on both sides of each limit, and far from it. */
const LIMITS: readonly Json[] = [
  [null, true, false, 0, -1, 1, 2, 8, 10, 11, 0.5, 199, 200, 599, 600, 65_535, 65_536, 2 ** 53 - 1, 2 ** 53, 1e300],
  ['', 'a', '*', 'YQ==', 'YQ=', 'YQ', 'YWI=', 'YWJj', 'Y Q=', 'Y!==', '=', '====', 'é', 'received', 'done', 'ES256'],
  [2, 16, 17, 21, 22, 39, 40, 41, 64, 65, 86, 87, 128, 129, 300, 301, 500, 501, 2048, 2049].map((n) => 'a'.repeat(n)),
  [2048, 2052, 4096, 4097, 12_288, 12_292, 16_384, 16_385, 49_152, 49_156].map((n) => 'A'.repeat(n)),
  [15, 16, 17, 64].map((n) => '0123456789abcdef'.repeat(8).slice(0, n)),
  [[], {}, [1], ['a'], [['ab', 1, 2]], [['ab', 11, 2]], [['ab', 1, 2, 3]], [['AB', 1, 2]], [[]]],
  [4, 5, 6, 7].map((n) => Array.from({ length: n }, () => 'YQ==')),
  [8, 9, 16, 17, 24, 25].map((n) => Array.from({ length: n }, () => 'ab'.repeat(32))),
  [8, 9].map((n) => Array.from({ length: n }, () => ({ keyId: 'ab', crlNumber: 1, crlUrl: 'x' }))),
  [
    { start: 1, end: 2 },
    { start: -1, end: 2 },
    { serial: 'ab', reason: 'x', at: 1 },
  ],
].flat();

const ODD: Arbitrary<Json> = oneof(
  constantFrom(...LIMITS),
  integer(),
  double({ noNaN: true, noDefaultInfinity: true }),
  string({ unit: 'binary', maxLength: 80 }),
  jsonValue({ maxDepth: 2 }),
);

type Change = { where: number; how: 'replace' | 'remove' | 'add' | 'repeat'; what: Json };

const CHANGE: Arbitrary<Change> = oneof(
  { weight: 6, arbitrary: ODD.map((what) => ({ how: 'replace' as const, what })) },
  { weight: 2, arbitrary: constantFrom({ how: 'remove' as const, what: null }) },
  { weight: 1, arbitrary: ODD.map((what) => ({ how: 'add' as const, what })) },
  { weight: 1, arbitrary: constantFrom({ how: 'repeat' as const, what: null }) },
).chain((change) => integer({ min: 0, max: 1_000_000 }).map((where) => ({ ...change, where })));

/** Every place with every limit, then changes of any kind, also two at a time. */
function forEachChange(example: Json, look: (value: Json) => void): void {
  const places = placesIn({ root: example }).length;
  for (let where = 0; where < places; where += 1) {
    for (const what of LIMITS) look(changed(example, [{ where, how: 'replace', what }]));
    for (const how of ['remove', 'repeat'] as const) look(changed(example, [{ where, how, what: null }]));
  }
  assert(
    property(CHANGE, CHANGE, integer({ min: 1, max: 2 }), (one, other, count) => {
      look(changed(example, [one, other].slice(0, count)));
    }),
    { numRuns: RUNS },
  );
}

/** An example with one field changed, or two. */
function changed(example: Json, changes: readonly Change[]): Json {
  const copy = JSON.parse(JSON.stringify({ root: example })) as Record<string, Json>;
  for (const { where, how, what: given } of changes) {
    const what = structuredClone(given);
    const places = placesIn(copy);
    const [holder, key] = places[where % places.length] ?? [copy, 'root'];
    if (how === 'remove' && holder !== copy) {
      if (Array.isArray(holder)) holder.splice(Number(key), 1);
      else Reflect.deleteProperty(holder, key);
    } else if (how === 'add') {
      const inner = (holder as Record<string, Json>)[key];
      if (typeof inner === 'object' && inner !== null && !Array.isArray(inner)) Object.assign(inner, { 'x-new': what });
    } else if (how === 'repeat') {
      if (Array.isArray(holder)) holder.push(...(holder as Json[]));
    } else if (how === 'replace') (holder as Record<string, Json>)[key] = what;
  }
  // As it comes over the wire: no undefined, no -0.
  return (JSON.parse(JSON.stringify(copy)) as { root: Json }).root;
}

function placesIn(value: Json): [object, string][] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => [[value, key] as [object, string], ...placesIn(inner)]);
}

const UNREAD = Symbol('a field that the parser does not return');

type Subject = {
  /** undefined: refused. */
  parse: (value: Json) => unknown;
  /** Fields that the parser checks or passes on without returning them. */
  unreturned?: readonly string[];
  /** Fields that the gateway always sends, and whose absence a device bears. */
  filledIn?: readonly string[];
  /** Beyond it another limit holds, characters. */
  most?: number;
};

/** Whether all that the schema names and the value has came back as it was. */
function isKept(schema: JsonSchema, given: Json, parsed: unknown): boolean {
  if (parsed === UNREAD) return true;
  if (Array.isArray(given)) {
    const { items } = schema;
    return (
      Array.isArray(parsed) &&
      parsed.length === given.length &&
      given.every((item, place) => isKept((Array.isArray(items) ? items[place] : items) ?? {}, item, parsed[place]))
    );
  }
  if (typeof given !== 'object' || given === null) return Object.is(given, parsed);
  if (typeof parsed !== 'object' || parsed === null) return false;
  return Object.entries(schema.properties ?? {}).every(
    ([key, inner]) =>
      !Object.hasOwn(given, key) ||
      isKept(inner, (given as Record<string, Json>)[key], (parsed as Record<string, unknown>)[key]),
  );
}

function hasAll(value: Json, fields: readonly string[]): boolean {
  const { body } = (value ?? {}) as { body?: object };
  return fields.every((field) => Object.hasOwn(body ?? {}, field));
}

/** Where the schema says no, the parser refuses the value, or ignores or cuts a field of it; and the other way round. */
function agree(name: string, example: Json, { parse, unreturned = [], filledIn = [], most = Infinity }: Subject): void {
  const schema = described.schema(name);
  expect(described.accepts(name, example), `the example of ${name}`).toBe(true);
  forEachChange(example, (value) => {
    if (JSON.stringify(value).length > most) return;
    const accepted = described.accepts(name, value);
    const parsed = parse(value);
    if (parsed === undefined) {
      expect(accepted, JSON.stringify(value)).toBe(false);
      return;
    }
    const returned = { ...(parsed as object), ...Object.fromEntries(unreturned.map((field) => [field, UNREAD])) };
    const isWhole = isKept(schema, value, returned) && hasAll(value, filledIn);
    expect(accepted, JSON.stringify(value)).toBe(isWhole);
  });
}

function examplesOf(message: string): Json[] {
  return (described.document.components.messages[message]?.examples ?? []).map(({ payload }) => payload);
}

const decoded = (token: Json, part: 0 | 1): Json =>
  JSON.parse(Buffer.from(String(token).split('.')[part] ?? '', 'base64url').toString('utf8'));

/** undefined: whoever reads notices refuses it. */
function parseHeader(header: Json): unknown {
  const part = Buffer.from(JSON.stringify(header)).toString('base64url');
  try {
    const { alg, typ, x5c } = parseCompactJws(`${part}.e30.AAAA`).header;
    return typ === NOTICE_JWS_TYPE ? { alg, typ, x5c: x5c.map((der) => der.toString('base64')) } : undefined;
  } catch {
    return undefined;
  }
}

describe('schema and parser say the same of', () => {
  it.each(examplesOf('ack'))('acknowledgements: %j', (example) =>
    agree('NoticeAck', example, { parse: parseNoticeAck }),
  );

  it.each(examplesOf('state'))('state reports: %j', (example) => {
    // What the gateway does not act on is passed on as it is, and of these only what is right is tried.
    const { proofLevel: _, nextRenewalAt: __, hook: ___, ...acted } = example as Record<string, Json>;
    agree('AgentState', acted, { parse: (value) => parseAgentState(value), unreturned: ['version'] });
  });

  it.each([
    ['RenewNotice', 'renewNotice', ['rekey']],
    ['RevokedNotice', 'revokedNotice', ['advice']],
    ['AttestNotice', 'attestNotice', ['reason']],
    ['QuarantineNotice', 'quarantineNotice', []],
    ['TrustNotice', 'trustNotice', []],
    ['TimeNotice', 'timeNotice', []],
    ['RevocationsNotice', 'revocationsNotice', []],
  ] as const)('%s', (schema, message, filledIn) => {
    const example = decoded(examplesOf(message).at(-1), 1) as { kind: string };
    const parse = (value: Json) => {
      const notice = parseNotice(value);
      return notice?.kind === example.kind ? notice : undefined;
    };
    agree(schema, example, { parse, filledIn });
  });

  it('the header of a notice', () => {
    const example = decoded(examplesOf('renewNotice')[0], 0);
    // Of a whole token there are 64 KiB.
    agree('NoticeHeader', example, { parse: parseHeader, most: 48_000 });
  });

  it.each(['csr', 'tpmChallenge'])('messages on the CSR topic: %s', (message) => {
    const [example] = examplesOf(message);
    forEachChange(example, (value) => {
      const parsed = parseCsrMessage(Buffer.from(JSON.stringify(value)));
      const accepted = ['CsrMessage', 'TpmChallengeMessage'].filter((name) => described.accepts(name, value));
      const expected = { csr: ['CsrMessage'], challenge: ['TpmChallengeMessage'], invalid: [] };
      expect(accepted, JSON.stringify(value).slice(0, 500)).toEqual(expected[parsed.kind]);
    });
  });

  it('a message that is a CSR and a challenge at once: it is neither', () => {
    const both = { ...(examplesOf('csr')[0] as object), ...(examplesOf('tpmChallenge')[0] as object) };
    expect(parseCsrMessage(Buffer.from(JSON.stringify(both))).kind).toBe('invalid');
    for (const name of ['CsrMessage', 'TpmChallengeMessage']) expect(described.accepts(name, both)).toBe(false);
  });

  it.each(examplesOf('csrAnswer'))('answers, as far as a device has to bear more: %j', (example) => {
    forEachChange(example, (value) => {
      const parsed = parseCsrAnswer(Buffer.from(JSON.stringify(value)));
      if (!described.accepts('CsrAnswer', value)) return;
      const { requestId, status, transient, retryAfter, certificate, chain } = value as Record<string, Json>;
      const known = Object.entries({ requestId, status, transient, retryAfter, certificate, chain });
      expect(parsed).toMatchObject(Object.fromEntries(known.filter(([, given]) => given !== undefined)));
    });
  });

  it('claim files: whatever an agent takes is described', async () => {
    const authority = await TestAuthority.create();
    const claim = await claimOf({ authority, deviceId: 'press-07', estPort: 8443, mqttPort: 8883 } as never);
    let taken = 0;
    forEachChange(claim, (value) => {
      try {
        readClaimFile(JSON.stringify(value));
      } catch {
        return;
      }
      taken += 1;
      expect(described.accepts('ClaimFile', value), JSON.stringify(value)).toBe(true);
    });
    expect(taken).toBeGreaterThan(10);
  });
});
