import type { LoadResult } from './load-jobs.ts';

/** What simulators/attested-load.ts, the load of devices with TPMs in memory, is asked and answers. */
export const ENDORSEMENT_KEYS = ['ec-p256', 'rsa-2048', 'ec-p384'] as const;
export type EndorsementKey = (typeof ENDORSEMENT_KEYS)[number];

export type AttestedJob =
  /** The root of the TPMs' maker, to be pinned. */
  | { kind: 'maker' }
  /** A TPM and a key for each device. */
  | { kind: 'equip'; endorsementKey: EndorsementKey; tickets: { deviceId: string; ticket: string }[] }
  /** Both round trips of an attested enrollment, each device on a connection of its own. `ca`: PEM. */
  | {
      kind: 'enroll-attested';
      target: { host: string; port: number; ca: string };
      deviceIds: string[];
      concurrency: number;
    }
  /** What the gateway computes for one, in the load process: no TLS, no database, no certificate. */
  | { kind: 'verify'; endorsementKey: EndorsementKey; count: number };

/** `rootCertificate`: of `maker`, base64 of the DER. `processorMs`: of the load process, for all of it. */
export type AttestedResult = LoadResult & { processorMs: number; rootCertificate?: string };
