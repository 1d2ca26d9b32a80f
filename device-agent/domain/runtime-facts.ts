/** `status.json`: what the agent has lived through, for `status` and for people. Losing it loses no identity. Times are milliseconds UTC. */
export type RuntimeFacts = {
  version: 1;
  /** A signed notice said that this certificate is revoked. */
  revoked?: { serial: string; reason: string; advice: string; at: number };
  /** A signed notice said that only identity topics are left to this certificate. */
  quarantined?: { serial: string; reason: string; at: number };
  /** The broker knows this certificate and refuses it (CONNACK `code`). */
  refused?: { serial: string; code: number; at: number };
  lastError?: { code: string; message: string; advice?: string; at: number };
  /** The last request for a certificate; `id` stands in the gateway's log and console too. */
  lastAttempt?: { id: string; outcome: 'issued' | 'pending' | 'refused' | 'failed'; at: number; via?: 'est' | 'mqtt' };
  /** A first enrollment that was asked for and has not ended. */
  enrollment?: OpenEnrollment;
  /** A renewal that a person has to decide, and has not. */
  renewal?: OpenEnrollment;
  hook?: { exitCode: number | null; timedOut: boolean; at: number };
  /** A renewal brought a certificate that was not let in; until one succeeds. */
  rolledBack?: { serial: string; reason: string; at: number };
  lastConnectedAt?: number;
  crl?: CrlOnDisk;
};

/** The CRLs that were verified last, and what became of the last try to fetch newer ones. */
export type CrlOnDisk = {
  /** Key id of the issuer in use, whose CRL this is. */
  issuer?: string;
  number?: number;
  thisUpdate?: number;
  nextUpdate?: number;
  fetchedAt?: number;
  /** Where it came from, and how it was marked there. */
  url?: string;
  etag?: string;
  /** Those of issuers before it. */
  others?: { issuer: string; number: number; nextUpdate: number }[];
  /** It failed. */
  error?: { message: string; at: number };
};

type OpenEnrollment = {
  /** Asked again under the same name, so that the gateway gives the same answer. */
  attemptId: string;
  /** SHA-256 of the public key it is for, lower-case hexadecimal. */
  spkiSha256: string;
  via: 'est' | 'mqtt';
  since: number;
  /** A person has to decide; asked again then, while the command runs. */
  askAgainAt?: number;
};

const NO_FACTS: RuntimeFacts = { version: 1 };

/** Whatever is not as this version writes it is left out. */
export function parseRuntimeFacts(value: unknown): RuntimeFacts {
  if (!isRecord(value) || value['version'] !== 1) return NO_FACTS;
  const {
    revoked,
    quarantined,
    refused,
    lastError,
    lastAttempt,
    enrollment,
    renewal,
    hook,
    rolledBack,
    lastConnectedAt,
    crl,
  } = value as Partial<RuntimeFacts>;
  return {
    version: 1,
    ...(isRecord(revoked) ? { revoked } : {}),
    ...(isRecord(quarantined) ? { quarantined } : {}),
    ...(isRecord(refused) ? { refused } : {}),
    ...(isRecord(lastError) ? { lastError } : {}),
    ...(isRecord(lastAttempt) ? { lastAttempt } : {}),
    ...(isOpenEnrollment(enrollment) ? { enrollment } : {}),
    ...(isOpenEnrollment(renewal) ? { renewal } : {}),
    ...(isRecord(hook) ? { hook } : {}),
    ...(isRecord(rolledBack) ? { rolledBack } : {}),
    ...(isRecord(crl) ? { crl } : {}),
    ...(typeof lastConnectedAt === 'number' ? { lastConnectedAt: Math.floor(lastConnectedAt) } : {}),
  };
}

function isOpenEnrollment(value: unknown): value is OpenEnrollment {
  if (!isRecord(value)) return false;
  const { attemptId, spkiSha256, via, since, askAgainAt } = value;
  if (typeof attemptId !== 'string' || typeof spkiSha256 !== 'string' || typeof since !== 'number') return false;
  return (via === 'est' || via === 'mqtt') && (askAgainAt === undefined || typeof askAgainAt === 'number');
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
