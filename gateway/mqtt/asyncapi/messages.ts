import {
  ACK_EXAMPLES,
  ANSWER_EXAMPLES,
  CSR_EXAMPLES,
  NOTICE_EXAMPLES,
  STATE_EXAMPLES,
  signedExample,
} from './examples.ts';
import type { SchemaName } from './schemas.ts';

export type MessageDefinition = {
  title: string;
  summary: string;
  /** Left out: bytes of the application's own. */
  payload?: SchemaName;
  /** Of a signed notice: what its decoded payload is. */
  notice?: SchemaName;
  /** Question and answer have the same requestId. */
  isCorrelated?: true;
  /** By name. */
  examples: Readonly<Record<string, unknown>>;
};

type NoticeExample = keyof typeof NOTICE_EXAMPLES;

const signed = (
  [first, ...more]: readonly [NoticeExample, ...NoticeExample[]],
  notice: SchemaName,
  summary: string,
): MessageDefinition => ({
  title: `Notice: ${NOTICE_EXAMPLES[first].kind}`,
  summary,
  payload: 'SignedNotice',
  notice,
  examples: Object.fromEntries([first, ...more].map((name) => [name, signedExample(NOTICE_EXAMPLES[name])])),
});

/** Everything that goes over the wire. */
export const MESSAGES = {
  csr: {
    title: 'A CSR',
    summary: 'Asks for a certificate; the same key asked again gets the same certificate',
    payload: 'CsrMessage',
    isCorrelated: true,
    examples: { csr: CSR_EXAMPLES.csr, labelled: CSR_EXAMPLES.labelled },
  },
  tpmChallenge: {
    title: 'An endorsement and an attestation key',
    summary: 'First round trip of an enrollment whose key is in a TPM; the second is a CSR with the evidence',
    payload: 'TpmChallengeMessage',
    isCorrelated: true,
    examples: { tpmChallenge: CSR_EXAMPLES.tpmChallenge },
  },
  csrAnswer: {
    title: 'The answer to either',
    summary: 'To the session that asked, alone; kept until it has subscribed. Pushed when a person has decided',
    payload: 'CsrAnswer',
    isCorrelated: true,
    examples: ANSWER_EXAMPLES,
  },
  ack: {
    title: 'Acknowledgement of a notice',
    summary: 'Until done or failed has come a notice is sent again at each connect',
    payload: 'NoticeAck',
    examples: ACK_EXAMPLES,
  },
  state: {
    title: 'State report',
    summary: 'After each connect and each change; with connected: false it is the will',
    payload: 'AgentState',
    examples: STATE_EXAMPLES,
  },
  renewNotice: signed(['renew', 'planned'], 'RenewNotice', 'Renew this certificate, or know when to'),
  revokedNotice: signed(['revoked'], 'RevokedNotice', 'These certificates are revoked; the session ends'),
  attestNotice: signed(['attest'], 'AttestNotice', 'Prove with the TPM that the key in use lives there'),
  quarantineNotice: signed(['quarantine'], 'QuarantineNotice', 'Data is dropped, or is not any more'),
  trustNotice: signed(['trust'], 'TrustNotice', 'The anchors to trust from now on'),
  timeNotice: signed(['time'], 'TimeNotice', "The gateway's time, for a clock that is far off"),
  fleetTrustNotice: signed(['fleetTrust'], 'TrustNotice', 'The anchors to trust from now on, for the whole fleet'),
  revocationsNotice: signed(
    ['revocations'],
    'RevocationsNotice',
    'What was revoked and released, and where the CRL is',
  ),
  data: { title: 'Telemetry or a command', summary: "The application's own bytes", examples: {} },
} as const satisfies Record<string, MessageDefinition>;

export type MessageName = keyof typeof MESSAGES;
