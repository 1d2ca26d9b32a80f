import { z } from 'zod';
import { PROOF_LEVELS } from '#gateway/contract/operator-api.ts';
import type { AgentState, AttestEvidence, NoticeAck, RolledBack } from '#gateway/contract/reports.ts';
import { base64, count, serial, sha256, version } from './schema-parts.ts';

/** What devices say of themselves (contract/reports.ts). A field of the contract that is missing here does not compile. */

const MAX_EVIDENCE_CHARACTERS = 4096;

const evidence = {
  attest: base64(MAX_EVIDENCE_CHARACTERS).describe(
    'TPMS_ATTEST; its qualifying data binds the nonce of the notice to the key',
  ),
  signature: base64(MAX_EVIDENCE_CHARACTERS),
  publicArea: base64(MAX_EVIDENCE_CHARACTERS).describe('TPMT_PUBLIC of the key'),
} satisfies Record<keyof AttestEvidence, z.ZodType>;

const ack = {
  noticeId: z.string().max(64),
  outcome: z
    .enum(['received', 'done', 'failed'])
    .describe('received: at once; done or failed: when what the notice asked for has ended'),
  detail: z.string().max(500).exactOptional().describe('why it failed, for people'),
  evidence: z
    .object(evidence)
    .exactOptional()
    .describe('the answer to an attest notice: what TPM2_Certify says of the key in use'),
} satisfies Record<keyof NoticeAck, z.ZodType>;

const rolledBack = {
  serial: serial.describe('of the certificate that did not work'),
  reason: z.string().max(300),
  at: count.describe("by the agent's clock, milliseconds UTC"),
} satisfies Record<keyof RolledBack, z.ZodType>;

const hook = z.object({ exitCode: z.int().nullable(), timedOut: z.boolean(), at: count });

const state = {
  version,
  connected: z.boolean().describe('false: the will of the session'),
  serial: serial.describe('of the certificate that the device has switched to: older ones end now'),
  agentVersion: z.string().max(64).exactOptional(),
  proofLevel: z.enum(PROOF_LEVELS).exactOptional(),
  clock: z
    .number()
    .exactOptional()
    .describe("the device's clock, milliseconds UTC; far off is answered with a time notice"),
  nextRenewalAt: count.nullable().exactOptional().describe('milliseconds UTC'),
  hook: hook.exactOptional().describe("how the owner's hook ended after the last renewal"),
  rolledBack: z
    .object(rolledBack)
    .exactOptional()
    .describe('the last renewal brought a certificate that was not let in; until one succeeds'),
  run: z
    .string()
    .regex(/^[0-9a-f]{16}$/)
    .exactOptional()
    .describe("of the agent's process: another one at each start"),
  count: count.exactOptional().describe('kept on the disk, and one higher in each report'),
  anchors: z.array(sha256).max(16).exactOptional().describe('SHA-256 of each trust anchor in use'),
} satisfies Record<keyof AgentState, z.ZodType>;

export const REPORT_SCHEMAS = { NoticeAck: z.object(ack), AgentState: z.object(state) } as const;
