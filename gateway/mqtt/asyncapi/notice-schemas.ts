import { z } from 'zod';
import {
  type IssuerCrl,
  MAX_CRL_ISSUERS,
  NOTICE_JWS_TYPE,
  type Notice,
  type NoticeBody,
  type NoticeKind,
  type RevocationsBody,
  type TrustBody,
} from '#gateway/contract/notice.ts';
import { base64, count, moment, suggestedWindow, version } from './schema-parts.ts';

/** What the gateway tells devices (contract/notice.ts). A kind or a field that is missing here does not compile. */

type BodyOf<K extends NoticeKind> = Extract<NoticeBody, { kind: K }>['body'];
type Shape<T> = Record<keyof T, z.ZodType>;

const reason = z.string().describe('for people');
const crlUrl = z.string().max(2048);
const certificates = (most: number, least = 0) => z.array(base64(16_384)).min(least).max(most);

const issuer = {
  keyId: z
    .string()
    .regex(/^[0-9a-f]{2,128}$/)
    .describe('subject key id'),
  crlNumber: count,
  crlUrl,
} satisfies Shape<IssuerCrl>;

const entry = z.tuple([
  z
    .string()
    .regex(/^[0-9a-f]{1,40}$/)
    .describe('serial'),
  z.int().min(0).max(10).describe('reason code (RFC 5280 5.3.1; 8: released again)'),
  count.describe('seconds UTC'),
]);

const BODIES = {
  renew: z.object({
    serial: z.string().describe('of the certificate to be replaced; a device that has another one answers done'),
    suggestedWindow,
    reason,
    rekey: z.boolean().describe('a new key is required'),
    planned: z
      .literal(true)
      .exactOptional()
      .describe('no order: this window takes the place of the one told before, and done says that it was noted'),
  } satisfies Shape<BodyOf<'renew'>>),
  revoked: z.object({
    serials: z.array(z.string()).describe('the certificates that are revoked'),
    reason,
    advice: z.string().describe('what to do next, for people'),
  } satisfies Shape<BodyOf<'revoked'>>),
  attest: z.object({
    nonce: z
      .string()
      .regex(/^[A-Za-z0-9_-]{22,86}$/)
      .describe('base64url; to be bound into the evidence'),
    reason,
  } satisfies Shape<BodyOf<'attest'>>),
  quarantine: z.object({
    active: z.boolean().describe('true: the data of this device is dropped until it is false'),
    reason,
  } satisfies Shape<BodyOf<'quarantine'>>),
  trust: z.object({
    version: count.describe('rises with every change; a lower one than the highest obeyed is not obeyed'),
    anchors: certificates(8, 1).describe('root certificates, DER: all that are to be trusted from now on'),
    intermediates: certificates(24).describe('CAs below them and links between them, DER: to find paths'),
  } satisfies Shape<TrustBody>),
  time: z.object({ time: moment } satisfies Shape<BodyOf<'time'>>),
  revocations: z.object({
    crlNumber: count.describe('of the newest CRL behind crlUrl'),
    seq: count.describe('of the newest change told here; later is what has the higher (crlNumber, seq)'),
    full: z.boolean().describe('entries are all revocations in force'),
    since: count.describe('entries hold every change after this one; 0 when full'),
    entries: z.array(entry).describe('newest first'),
    crlUrl,
    issuers: z
      .array(z.object(issuer))
      .min(1)
      .max(MAX_CRL_ISSUERS)
      .exactOptional()
      .describe('the newest complete CRL of each issuer, the one in use first'),
  } satisfies Shape<RevocationsBody>),
} as const satisfies { [K in NoticeKind]: z.ZodType<BodyOf<K>> };

const notice = <K extends NoticeKind>(kind: K) =>
  z.object({
    version,
    id: z.string().max(64).describe('to be acknowledged by'),
    deviceId: z.string().describe('the device it is for, * for the fleet'),
    seq: count.describe('only rises, for each device and for the fleet'),
    issuedAt: moment,
    expiresAt: moment.describe('milliseconds UTC; past it the answer is failed, and nothing is done'),
    kind: z.literal(kind),
    body: BODIES[kind],
  } satisfies Shape<Notice>);

const MAX_X5C = 4;

export const NOTICE_SCHEMAS = {
  RenewNotice: notice('renew'),
  RevokedNotice: notice('revoked'),
  AttestNotice: notice('attest'),
  QuarantineNotice: notice('quarantine'),
  TrustNotice: notice('trust'),
  TimeNotice: notice('time'),
  RevocationsNotice: notice('revocations'),
  NoticeHeader: z.object({
    alg: z.literal('ES256'),
    typ: z.literal(NOTICE_JWS_TYPE).describe('a token of another type is no notice (RFC 8725 3.11)'),
    x5c: z
      .array(z.base64().min(1))
      .min(1)
      .max(MAX_X5C)
      .describe(
        'DER: the notice-signer certificate first, then its path. To be validated from an anchor of the device',
      ),
    crit: z.never().exactOptional().describe('what has it is refused'),
  }),
  SignedNotice: z
    .string()
    .max(64 * 1024)
    .regex(/^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/)
    .describe('compact JWS (RFC 7515 7.1): BASE64URL(header).BASE64URL(notice).BASE64URL(signature)'),
} as const;
