import { z } from 'zod';
import type { TpmChallengeAnswer } from '#gateway/contract/attestation.ts';
import { type CsrAnswer, REQUEST_ID } from '#gateway/contract/csr-messages.ts';
import { count, suggestedWindow, version } from './schema-parts.ts';

const der = z.base64().min(1);

const challenge = {
  version,
  challengeId: z.string().describe('for logs'),
  credentialBlob: der.describe('TPM2B_ID_OBJECT'),
  encryptedSecret: der.describe('TPM2B_ENCRYPTED_SECRET'),
  expiresIn: count.describe('seconds until it is void'),
} satisfies Record<keyof TpmChallengeAnswer, z.ZodType>;

const answer = {
  version,
  requestId: z.string().regex(REQUEST_ID).describe('of the message that is answered'),
  status: z
    .int()
    .min(200)
    .max(599)
    .describe('as over HTTP: 200 done, 202 a person has to decide, 4xx refused, 5xx our side'),
  code: z
    .string()
    .regex(/^[A-Z][A-Z0-9_]*$/)
    .describe('ISSUED, GIVEN_AGAIN, CHALLENGED, APPROVAL_PENDING, or why it was refused'),
  detail: z.string().describe('for people'),
  attemptId: z.string().describe('gatehouse attempt show ATTEMPT-ID tells its steps'),
  transient: z.boolean().describe('whether the same request may succeed later'),
  retryAfter: z.number().min(0).exactOptional().describe('seconds'),
  certificate: der.exactOptional().describe('the certificate, DER'),
  chain: z.array(der).exactOptional().describe('CA certificates from its issuer to the root, DER'),
  suggestedWindow: suggestedWindow.exactOptional(),
  tpmChallenge: z.object(challenge).exactOptional().describe('the answer to a challenge message'),
} satisfies Record<keyof CsrAnswer, z.ZodType>;

/** What is answered to a CSR (contract/csr-messages.ts). A field of the contract that is missing here does not compile. */
export const CSR_ANSWER = z.object(answer) satisfies z.ZodType<CsrAnswer>;
