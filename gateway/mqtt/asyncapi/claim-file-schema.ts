import { z } from 'zod';
import type { ClaimFile } from '#gateway/contract/claim-file.ts';

const address = z.object({ host: z.string().min(1), port: z.int().min(1).max(65_535) });

const pem = (label: string) => z.string().regex(new RegExp(`-----BEGIN ${label}-----`));

const claim = {
  kind: z.literal('gatehouse-claim'),
  version: z.literal(1),
  deviceId: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/),
  trustDomain: z.string(),
  est: address,
  mqtt: address.describe('where the certificate opens v1/enroll/<device id>/... and nothing else'),
  root: pem('CERTIFICATE').describe('the root to expect, PEM'),
  certificates: pem('CERTIFICATE').describe("the claim's certificate, then its issuer, PEM"),
  privateKey: pem('PRIVATE KEY').describe('PKCS#8, PEM'),
  expiresAt: z.number().describe('milliseconds UTC'),
} satisfies Record<keyof ClaimFile, z.ZodType>;

/** What a device that reaches the MQTT door only is given (contract/claim-file.ts): not sent over MQTT, and needed for it. */
export const CLAIM_FILE = z.object(claim);
