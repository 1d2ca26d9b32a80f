import type { CaGenerationState } from '#gateway/contract/operator-api.ts';

/** A CA certificate of ours in its life. */
export type CaGeneration = {
  /** Of the DER, lower-case hexadecimal. */
  sha256: string;
  kind: 'root' | 'intermediate' | 'cross';
  /** Subject key id. */
  keyId: string;
  state: CaGenerationState;
  createdAt: number;
  changedAt: number;
  reason: string | null;
  der: Buffer;
};
