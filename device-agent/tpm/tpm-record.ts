/** `tpm.json`: which TPM this agent uses and what it keeps in it. Written before the TPM is changed, so that nothing in it is ever nobody's. */
export type TpmRecord = {
  version: 1;
  tcti: string;
  /** Persistent handle of the attestation key. */
  akHandle: number;
  /** Name of the attestation key, lower-case hexadecimal. Absent: it was about to be made. */
  akName?: string;
};

/** @returns undefined when there is none that this version can use. */
export function parseTpmRecord(value: unknown): TpmRecord | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { version, tcti, akHandle, akName } = value as Record<string, unknown>;
  if (version !== 1 || typeof tcti !== 'string' || !isPersistentHandle(akHandle)) return undefined;
  return { version: 1, tcti, akHandle, ...(typeof akName === 'string' ? { akName } : {}) };
}

function isPersistentHandle(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0x81000000 && value <= 0x81ffffff;
}
