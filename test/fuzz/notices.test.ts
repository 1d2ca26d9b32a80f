import { sign as signBytes } from 'node:crypto';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type CompactJws, formatCompactJws, parseCompactJws, verifyCompactJws } from '#ca/pkix/compact-jws.ts';
import { oid, sequence } from '#ca/pkix/der.ts';
import { formatExtension } from '#ca/pkix/extensions.ts';
import { OID } from '#ca/pkix/oids.ts';
import { PkixError } from '#ca/pkix/pkix-error.ts';
import { AgentError } from '#device-agent/domain/agent-error.ts';
import { decideNotice } from '#device-agent/domain/notice-decision.ts';
import { EMPTY_NOTICE_MEMORY, parseNoticeMemory, rememberNotice } from '#device-agent/domain/notice-memory.ts';
import { readNotice, type SignedNotice } from '#device-agent/domain/read-notice.ts';
import { parseDeviceId } from '#gateway/contract/device-id.ts';
import { NOTICE_JWS_TYPE, type Notice, parseNotice } from '#gateway/contract/notice.ts';
import { makeCertificate, makeIntermediate, makeRoot, NOW } from '#test/fixtures/ca/certificates.ts';
import { fuzzTextParser } from './fuzz-parser.ts';
import { holdsFor } from './fuzz-runs.ts';
import { mutatedText } from './mutate-bytes.ts';
import { mutatedJson } from './mutate-json.ts';

const root = makeRoot();
const intermediate = makeIntermediate(root);
const mayNotify = [formatExtension(OID.extendedKeyUsage, true, sequence(oid(OID.gatehouseNoticeSigner)))];
const signer = makeCertificate({ issuer: intermediate, extensions: mayNotify });
/** A device of the same fleet: its certificate is as good, and for another purpose. */
const device = makeCertificate({ issuer: intermediate });
/** Says all the right things about itself. */
const impostorRoot = makeRoot();
const impostor = makeCertificate({ issuer: makeIntermediate(impostorRoot), extensions: mayNotify });

const head = { version: 1, id: 'n-1', deviceId: 'pump-1', seq: 7, issuedAt: NOW, expiresAt: NOW + 60_000 } as const;
const revocations = {
  crlNumber: 4,
  seq: 9,
  full: false,
  since: 8,
  entries: [['0a1b', 1, Math.floor(NOW / 1000)] as [string, number, number]],
  crlUrl: 'http://gate:8080/crl/intermediate.crl',
};
const notices: Notice[] = [
  {
    ...head,
    kind: 'renew',
    body: { serial: '0a1b', suggestedWindow: { start: NOW, end: NOW + 1000 }, reason: 'order', rekey: true },
  },
  { ...head, kind: 'revoked', body: { serials: ['0a1b'], reason: 'keyCompromise', advice: 'enroll again' } },
  { ...head, deviceId: '*', kind: 'revocations', body: revocations },
];

type Maker = { by?: typeof signer; showing?: Buffer[]; type?: string };

function sign(payload: unknown, { by = signer, showing, type = NOTICE_JWS_TYPE }: Maker = {}): string {
  const certificates = showing ?? [by.certificate.der, intermediate.certificate.der];
  return formatCompactJws({ payload, type, certificates, privateKey: by.key.privateKey });
}

/** Payloads that `JSON.stringify` would not write. */
function signJson(json: string): string {
  const [header] = sign({}).split('.');
  const signingInput = `${header}.${encode(json)}`;
  const key = { key: signer.key.privateKey, dsaEncoding: 'ieee-p1363' as const };
  return `${signingInput}.${signBytes('sha256', Buffer.from(signingInput), key).toString('base64url')}`;
}

const signed = notices.map((notice) => sign(notice));
const trust = { anchors: [root.certificate.der], at: NOW };

/** Parts of right messages in other places, and headers that were written anew. */
const reassembled = fc.oneof(
  fc
    .tuple(fc.constantFrom(...signed), fc.constantFrom(...signed), fc.constantFrom(...signed))
    .map(([a, b, c]) => [a.split('.')[0], b.split('.')[1], c.split('.')[2]].join('.')),
  fc
    .tuple(fc.constantFrom(...signed), mutatedJson(signed.map((text) => decode(text.split('.')[0]))))
    .map(([text, header]) => [encode(header), ...text.split('.').slice(1)].join('.')),
  fc
    .tuple(fc.constantFrom(...signed), mutatedJson(notices))
    .map(([text, payload]) => [text.split('.')[0], encode(payload), text.split('.')[2]].join('.')),
  fc
    .tuple(fc.constantFrom(...signed), fc.constantFrom('none', 'HS256', 'ES384', 'RS256', 'es256', ''))
    .map(([text, alg]) =>
      text.replace(/^[^.]+/, (header) => encode(JSON.stringify({ ...(decode(header) as object), alg }))),
    ),
);

function decode(part: string | undefined): unknown {
  return JSON.parse(Buffer.from(part ?? '', 'base64url').toString('utf8'));
}

function encode(json: string): string {
  return Buffer.from(json, 'utf8').toString('base64url');
}

fuzzTextParser<CompactJws>({
  name: 'parseCompactJws',
  valid: signed,
  mutated: [reassembled],
  parse: parseCompactJws,
  refusesWith: PkixError,
  holds: (jws, text) => {
    expect(jws.header.alg).toBe('ES256');
    // The one and only text of these octets, so nothing hides between the parts.
    expect(`${jws.signingInput.toString('latin1')}.${jws.signature.toString('base64url')}`).toBe(text);
    expect(verifyCompactJws(jws, signer.certificate.publicKey)).toBe(signed.includes(text));
    for (const der of jws.header.x5c) verifyCompactJws(jws, der);
  },
});

fuzzTextParser<SignedNotice>({
  name: 'readNotice',
  valid: signed,
  mutated: [reassembled],
  parse: (text) => readNotice(text, trust),
  refusesWith: AgentError,
  holds: (_notice, text) => expect(signed).toContain(text),
});

describe('a notice', () => {
  it('that somebody else signed is refused, whatever certificates it shows', () => {
    const shown = [signer, device, impostor, impostorRoot, intermediate, root].map(
      ({ certificate }) => certificate.der,
    );
    const forged = fc.record({
      by: fc.constantFrom(device, impostor, intermediate, root, impostorRoot),
      showing: fc.array(fc.constantFrom(...shown), { minLength: 1, maxLength: 4 }),
      type: fc.constantFrom(NOTICE_JWS_TYPE, 'JWT', ''),
    });
    holdsFor(400, fc.tuple(fc.constantFrom(...notices), forged), ([notice, maker]) => {
      expect(() => readNotice(sign(notice, maker), trust)).toThrow(AgentError);
    });
  });

  it('of the right signer but another type is refused', () => {
    for (const type of ['JWT', '', 'gatehouse-notice', `${NOTICE_JWS_TYPE} `]) {
      expect(() => readNotice(sign(notices[0], { type }), trust)).toThrow(AgentError);
    }
  });

  it('that is rightly signed but says nonsense is refused, or can be decided upon and remembered', () => {
    holdsFor(1500, mutatedJson(notices), (json) => {
      let notice: Notice;
      try {
        notice = readNotice(signJson(json), trust).notice;
      } catch (error) {
        if (!(error instanceof AgentError)) throw error;
        return;
      }
      const facts = { deviceId: parseDeviceId('pump-1'), memory: EMPTY_NOTICE_MEMORY, now: NOW };
      const decision = decideNotice(notice, facts);
      if (notice.deviceId !== 'pump-1') expect(decision).toMatchObject({ kind: 'refuse', answer: false });
      const memory = rememberNotice(EMPTY_NOTICE_MEMORY, { id: notice.id, seq: notice.seq, outcome: 'received' });
      expect(memory.highestSeq).toBe(notice.seq);
      expect(parseNoticeMemory(JSON.parse(JSON.stringify(memory)))).toEqual(memory);
    });
  });

  it('comes back from its JSON', () => {
    for (const notice of notices) expect(parseNotice(JSON.parse(JSON.stringify(notice)))).toEqual(notice);
  });
});

fuzzTextParser<Notice>({
  name: 'parseNotice',
  valid: notices.map((notice) => JSON.stringify(notice)),
  mutated: [mutatedJson(notices), mutatedText(notices.map((notice) => JSON.stringify(notice)))],
  parse: (text) => parseNotice(readJson(text)),
  holds: (notice) => {
    // Only whole numbers, and what was read is read again as the same.
    for (const time of [notice.seq, notice.issuedAt, notice.expiresAt]) expect(Number.isSafeInteger(time)).toBe(true);
    expect(parseNotice(JSON.parse(JSON.stringify(notice)))).toEqual(notice);
  },
});

/** As every reader of payloads does it. @returns undefined when it is not JSON */
function readJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
