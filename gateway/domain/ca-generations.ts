import type { Certificate } from '#ca/pkix/certificate.ts';
import type { CaGenerationState } from '#gateway/contract/operator-api.ts';
import type { CaGeneration } from './ca-generation.ts';
import type { CaIssuer } from './ca-trust.ts';

/** What the gateway has on record of issuers, by key id. */
export type RecordedStates = ReadonlyMap<string, CaGenerationState>;

/**
 * The state of each issuer, given what the authority says: it alone knows who issues, and may have been told just before
 * the gateway was killed. What is new is prepared, or was there before there were records.
 * @param issuers oldest first
 */
export function settleStates(
  issuers: readonly { keyId: string; isActive: boolean }[],
  recorded: RecordedStates,
): Map<string, CaGenerationState> {
  const active = issuers.findIndex(({ isActive }) => isActive);
  return new Map(
    issuers.map(({ keyId, isActive }, place) => [
      keyId,
      settle(recorded.get(keyId), { isActive, isOlder: place < active }),
    ]),
  );
}

function settle(
  recorded: CaGenerationState | undefined,
  { isActive, isOlder }: { isActive: boolean; isOlder: boolean },
): CaGenerationState {
  if (isActive) return 'active';
  const known = recorded ?? (isOlder ? 'superseded' : 'prepared');
  switch (known) {
    case 'prepared':
    case 'announced':
    case 'active':
      return isOlder ? 'superseded' : known === 'active' ? 'announced' : known;
    case 'superseded':
    case 'tainted':
    case 'retired':
      return known;
    // The same keys again, out of a backup: nobody has heard of them.
    case 'discarded':
      return 'prepared';
  }
}

const RANK = {
  active: 0,
  announced: 1,
  superseded: 2,
  tainted: 3,
  prepared: 4,
  retired: 5,
  discarded: 6,
} as const satisfies Record<CaGenerationState, number>;

/**
 * Prepared and not with the authority any more: it was discarded, of which the authority alone knows for certain. A root
 * or link that another issuer has stays what it is.
 */
export function discardedRows(
  before: readonly CaGeneration[],
  issuers: readonly { certificate: Buffer; root: Buffer; crossCertificates: readonly Buffer[] }[],
  { now, reason }: { now: number; reason: string | null },
): CaGeneration[] {
  const held = issuers.flatMap(({ certificate, root, crossCertificates }) => [certificate, root, ...crossCertificates]);
  return before
    .filter(({ state, der }) => state === 'prepared' && !held.some((one) => one.equals(der)))
    .map((row) => ({ ...row, state: 'discarded', changedAt: now, reason }));
}

/** A row for every certificate: a root, and the links made with it, are in use as long as an issuer below is. */
export function generationRows(
  issuers: readonly CaIssuer[],
  before: readonly CaGeneration[],
  { now, reason }: { now: number; reason: string | null },
): CaGeneration[] {
  const rows = new Map<string, CaGeneration>();
  const put = (kind: CaGeneration['kind'], { sha256, subjectKeyId, der }: Certificate, state: CaGenerationState) => {
    const other = rows.get(sha256);
    if (other !== undefined && RANK[other.state] <= RANK[state]) return;
    rows.set(sha256, { sha256, kind, keyId: subjectKeyId ?? '', state, createdAt: now, changedAt: now, reason, der });
  };
  for (const { certificate, root, crossCertificates, state } of issuers) {
    put('intermediate', certificate, state);
    put('root', root, state);
    for (const link of crossCertificates) put('cross', link, state);
  }
  return [...rows.values()].flatMap((row) => {
    const known = before.find(({ sha256 }) => sha256 === row.sha256);
    if (known?.state === row.state) return [];
    return known === undefined ? row : { ...row, createdAt: known.createdAt };
  });
}
