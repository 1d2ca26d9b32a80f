/** `status.json`: what the agent has lived through, for `status` and for people. Losing it loses no identity. Times are milliseconds UTC. */
export type RuntimeFacts = {
  version: 1;
  /** A signed notice said that this certificate is revoked. */
  revoked?: { serial: string; reason: string; advice: string; at: number };
  /** The broker knows this certificate and refuses it (CONNACK `code`). */
  refused?: { serial: string; code: number; at: number };
  lastError?: { code: string; message: string; advice?: string; at: number };
  /** The last request for a certificate; `id` stands in the gateway's log and console too. */
  lastAttempt?: { id: string; outcome: 'issued' | 'pending' | 'refused' | 'failed'; at: number };
  hook?: { exitCode: number | null; timedOut: boolean; at: number };
  lastConnectedAt?: number;
};

const NO_FACTS: RuntimeFacts = { version: 1 };

/** Whatever is not as this version writes it is left out. */
export function parseRuntimeFacts(value: unknown): RuntimeFacts {
  if (!isRecord(value) || value['version'] !== 1) return NO_FACTS;
  const { revoked, refused, lastError, lastAttempt, hook, lastConnectedAt } = value as Partial<RuntimeFacts>;
  return {
    version: 1,
    ...(isRecord(revoked) ? { revoked } : {}),
    ...(isRecord(refused) ? { refused } : {}),
    ...(isRecord(lastError) ? { lastError } : {}),
    ...(isRecord(lastAttempt) ? { lastAttempt } : {}),
    ...(isRecord(hook) ? { hook } : {}),
    ...(typeof lastConnectedAt === 'number' ? { lastConnectedAt: Math.floor(lastConnectedAt) } : {}),
  };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
