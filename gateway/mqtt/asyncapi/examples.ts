import type { ClaimFile } from '#gateway/contract/claim-file.ts';
import type { CsrAnswer, CsrMessage } from '#gateway/contract/csr-messages.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import { NOTICE_JWS_TYPE, type Notice, type NoticeBody } from '#gateway/contract/notice.ts';
import type { AgentState, NoticeAck } from '#gateway/contract/reports.ts';

/** Payloads as they go over the wire. What is binary is cut short. */

const DEVICE = 'press-07' as DeviceId;
const SERIAL = '654f4ae034c0575b848568bb82cc21e2';
const ATTEMPT = 'a-a9faa18083e6d0c9';
const NOW = Date.UTC(2026, 10, 30, 12);
const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const DER = 'MIIB3DCCAYKgAwIBAgIQZU9K4DTAV1uEhWi7gswh4g==';
const SHA256 = '12d51ca0712918d6a3b0a1c58311d62fb2ffdae537cb6708c20f70e5e8d3ad43';

const asked = { version: 1, requestId: ATTEMPT } as const;
const answered = { ...asked, attemptId: ATTEMPT, transient: false } as const;

export const CSR_EXAMPLES: Record<'csr' | 'labelled' | 'tpmChallenge', CsrMessage> = {
  csr: { ...asked, csr: 'MIHNMHQCAQAwEjEQMA4GA1UEAwwHcHJlc3MtMDcwWTATBgcqhkjOPQIB' },
  labelled: { ...asked, csr: 'MIHNMHQCAQAwEjEQMA4GA1UEAwwHcHJlc3MtMDcwWTATBgcqhkjOPQIB', label: 'line-3' },
  tpmChallenge: {
    ...asked,
    tpmChallenge: { version: 1, ekCertificate: DER, akPublic: 'ACMACwAFBHIAAAAQABgACwADABA=' },
  },
};

export const ANSWER_EXAMPLES: Record<string, CsrAnswer> = {
  issued: {
    ...answered,
    status: 200,
    code: 'ISSUED',
    detail: 'A certificate was issued.',
    certificate: DER,
    chain: [DER],
    suggestedWindow: { start: NOW + 4 * DAY, end: NOW + 4 * DAY + 604_000 },
  },
  challenged: {
    ...answered,
    status: 200,
    code: 'CHALLENGED',
    detail: 'Open the credential and certify the key with its secret.',
    tpmChallenge: {
      version: 1,
      challengeId: 'c-0123456789abcdef',
      credentialBlob: 'ACAAIJm1hVPsOtC0yYNvRnXpFw==',
      encryptedSecret: 'AQC9pMO2xM0rmf5QzCIfDtJb',
      expiresIn: 300,
    },
  },
  waiting: {
    ...answered,
    status: 202,
    code: 'APPROVAL_PENDING',
    detail: 'A person has to decide about this request.',
    transient: true,
    retryAfter: 60,
  },
  refused: {
    ...answered,
    status: 400,
    code: 'KEY_NOT_ALLOWED',
    detail: 'The group of this device takes ec-p256 keys.',
  },
};

export const STATE_EXAMPLES: Record<'connected' | 'rolledBack' | 'will', AgentState> = {
  connected: {
    version: 1,
    connected: true,
    agentVersion: '0.1.0',
    serial: SERIAL,
    proofLevel: 'software',
    clock: NOW,
    nextRenewalAt: NOW + 4 * DAY,
    run: '0123456789abcdef',
    count: 17,
    anchors: [SHA256],
  },
  rolledBack: {
    version: 1,
    connected: true,
    agentVersion: '0.1.0',
    serial: SERIAL,
    proofLevel: 'tpm-endorsed',
    clock: NOW,
    nextRenewalAt: NOW + HOUR,
    hook: { exitCode: 1, timedOut: false, at: NOW - HOUR },
    rolledBack: { serial: '710ab768e19f1e8f1853dfadf0335558', reason: 'the broker refused it', at: NOW - HOUR },
  },
  will: {
    version: 1,
    connected: false,
    agentVersion: '0.1.0',
    serial: SERIAL,
    proofLevel: 'software',
    clock: NOW,
    nextRenewalAt: null,
  },
};

const NOTICE_ID = 'n-d3f84dd5d0e17564';

export const ACK_EXAMPLES: Record<'received' | 'failed' | 'proven', NoticeAck> = {
  received: { noticeId: NOTICE_ID, outcome: 'received' },
  failed: { noticeId: NOTICE_ID, outcome: 'failed', detail: 'no space left on the device' },
  proven: {
    noticeId: NOTICE_ID,
    outcome: 'done',
    evidence: { attest: '/1RDR4AXACIAC2d2', signature: 'MEUCIQDhU1lL', publicArea: 'ACMACwAGBHIAAAAQ' },
  },
};

const notice = (body: NoticeBody, deviceId: string = DEVICE): Notice => ({
  version: 1,
  id: NOTICE_ID,
  deviceId,
  seq: NOW,
  issuedAt: NOW,
  expiresAt: NOW + DAY,
  ...body,
});

const trust: NoticeBody = { kind: 'trust', body: { version: NOW, anchors: [DER], intermediates: [DER] } };

export const NOTICE_EXAMPLES = {
  renew: notice({
    kind: 'renew',
    body: {
      serial: SERIAL,
      suggestedWindow: { start: NOW - 2000, end: NOW - 1000 },
      reason: 'new intermediate',
      rekey: true,
    },
  }),
  planned: notice({
    kind: 'renew',
    body: {
      serial: SERIAL,
      suggestedWindow: { start: NOW + DAY, end: NOW + DAY + 604_000 },
      reason: 'its window passed while nobody could renew',
      rekey: true,
      planned: true,
    },
  }),
  revoked: notice({
    kind: 'revoked',
    body: { serials: [SERIAL], reason: 'superseded', advice: 'ask for a new ticket' },
  }),
  attest: notice({ kind: 'attest', body: { nonce: '3q2-7wABAgMEBQYHCAkKCwwNDg8', reason: 'two places' } }),
  quarantine: notice({ kind: 'quarantine', body: { active: true, reason: 'two places' } }),
  trust: notice(trust),
  fleetTrust: notice(trust, '*'),
  time: notice({ kind: 'time', body: { time: NOW } }),
  revocations: notice(
    {
      kind: 'revocations',
      body: {
        crlNumber: 42,
        seq: 7,
        full: true,
        since: 0,
        entries: [[SERIAL, 4, NOW / 1000]],
        crlUrl: 'http://gateway.example:8080/crl/intermediate.crl',
        issuers: [
          {
            keyId: SHA256.slice(0, 40),
            crlNumber: 42,
            crlUrl: 'http://gateway.example:8080/crl/intermediate.crl',
          },
        ],
      },
    },
    '*',
  ),
} satisfies Record<string, Notice>;

/** A notice as it is sent. The signature is none. */
export function signedExample(payload: Notice): string {
  const header = { alg: 'ES256', typ: NOTICE_JWS_TYPE, x5c: [DER, DER] };
  return `${encode(header)}.${encode(payload)}.${Buffer.alloc(64).toString('base64url')}`;
}

function encode(part: unknown): string {
  return Buffer.from(JSON.stringify(part)).toString('base64url');
}

export const CLAIM_EXAMPLE: ClaimFile = {
  kind: 'gatehouse-claim',
  version: 1,
  deviceId: DEVICE,
  trustDomain: 'gatehouse.internal',
  est: { host: 'gateway.example', port: 8443 },
  mqtt: { host: 'gateway.example', port: 8883 },
  root: `-----BEGIN CERTIFICATE-----\n${DER}\n-----END CERTIFICATE-----\n`,
  certificates: `-----BEGIN CERTIFICATE-----\n${DER}\n-----END CERTIFICATE-----\n`,
  privateKey: `-----BEGIN PRIVATE KEY-----\n${DER}\n-----END PRIVATE KEY-----\n`,
  expiresAt: NOW + HOUR,
};
