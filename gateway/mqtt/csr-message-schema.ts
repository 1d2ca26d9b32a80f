import { z } from 'zod';
import type { TpmChallengeRequest } from '#gateway/contract/attestation.ts';
import { type CsrMessage, REQUEST_ID } from '#gateway/contract/csr-messages.ts';

/** Characters of base64: about three quarters of it in bytes. A CSR with attestation is under 8 KiB. */
const MAX_CSR = 48 * 1024;
const MAX_CERTIFICATE = 12 * 1024;
/** The public area of an RSA-4096 key is some 600 octets. */
const MAX_PUBLIC_AREA = 2 * 1024;
const MAX_EK_CHAIN = 6;

const bytes = (most: number) =>
  z
    .base64()
    .min(1)
    .max(most)
    .transform((text) => Buffer.from(text, 'base64'));

const requestId = z
  .string()
  .regex(REQUEST_ID)
  .describe('repeated in the answer; one of the form a-<16 hex> is also the id of the attempt');

/** All that has to be readable for there to be an answer. */
export const CSR_HEADER = z.object({ requestId });

/** Of a group name. */
const MAX_LABEL = 63;

const asked = {
  version: z.literal(1),
  requestId,
  label: z
    .string()
    .min(1)
    .max(MAX_LABEL)
    .exactOptional()
    .describe('the group that is asked for; needed where several trust the maker of a device that is not registered'),
};

/** The other kind of message has this field. */
const absent = z.never().exactOptional();

const TPM_CHALLENGE = {
  version: z.literal(1),
  ekCertificate: bytes(MAX_CERTIFICATE)
    .exactOptional()
    .describe('of the endorsement key, DER; without it the EK is judged by its public key'),
  ekChain: z
    .array(bytes(MAX_CERTIFICATE))
    .max(MAX_EK_CHAIN)
    .exactOptional()
    .describe('intermediates of the EK certificate that the device holds, DER'),
  ekPublic: bytes(MAX_PUBLIC_AREA)
    .exactOptional()
    .describe('TPMT_PUBLIC of the EK; needed when there is no certificate'),
  akPublic: bytes(MAX_PUBLIC_AREA).describe('TPMT_PUBLIC of the attestation key'),
} satisfies Record<keyof TpmChallengeRequest, z.ZodType>;

/** What a device sends on its CSR topic; the parser and the AsyncAPI document are both made from these. */
export const CSR_MESSAGE = z.object({
  ...asked,
  csr: bytes(MAX_CSR).describe('PKCS#10, DER; with the attestation attribute when the key is in a TPM'),
  tpmChallenge: absent,
}) satisfies z.ZodType<unknown, CsrMessage>;

export const TPM_CHALLENGE_MESSAGE = z.object({
  ...asked,
  tpmChallenge: z.object(TPM_CHALLENGE),
  csr: absent,
}) satisfies z.ZodType<unknown, CsrMessage>;
