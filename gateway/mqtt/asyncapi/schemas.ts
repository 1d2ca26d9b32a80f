import type { z } from 'zod';
import { CSR_MESSAGE, TPM_CHALLENGE_MESSAGE } from '#gateway/mqtt/csr-message-schema.ts';
import { CSR_ANSWER } from './answer-schema.ts';
import { CLAIM_FILE } from './claim-file-schema.ts';
import { NOTICE_SCHEMAS } from './notice-schemas.ts';
import { REPORT_SCHEMAS } from './report-schemas.ts';

/** Every shape of the MQTT contract, by its name in the document. */
export const SCHEMAS = {
  CsrMessage: CSR_MESSAGE,
  TpmChallengeMessage: TPM_CHALLENGE_MESSAGE,
  CsrAnswer: CSR_ANSWER,
  ...REPORT_SCHEMAS,
  ...NOTICE_SCHEMAS,
  ClaimFile: CLAIM_FILE,
} as const satisfies Record<string, z.ZodType>;

export type SchemaName = keyof typeof SCHEMAS;
