import type { ProofLevel } from '#gateway/contract/operator-api.ts';
import { meetsProof } from '#gateway/domain/device.ts';

/**
 * The lowest proof level that will do: the highest of what is named. A level that was reached once is not left by
 * asking differently; only an operator who replaces the hardware ends it.
 */
export function highestProof(...levels: (ProofLevel | undefined)[]): ProofLevel {
  let highest: ProofLevel = 'software';
  for (const level of levels) {
    if (level !== undefined && meetsProof(level, highest)) highest = level;
  }
  return highest;
}
