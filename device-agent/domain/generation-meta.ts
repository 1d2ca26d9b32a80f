import { KEY_KINDS, type KeyKind } from '#gateway/contract/operator-api.ts';
import { parseSuggestedWindow, type SuggestedWindow } from '#gateway/contract/renewal-info.ts';

/** `meta.json` of a generation. Times are milliseconds UTC by the agent's best clock. */
export type GenerationMeta = {
  version: 1;
  keyKind: KeyKind;
  createdAt: number;
  /** When the certificate arrived. */
  receivedAt?: number;
  /** When the gateway would like to see it renewed, as it said with the certificate. */
  suggestedWindow?: SuggestedWindow;
  /** The attempt that brought the certificate. */
  attemptId?: string;
  /** The gateway wanted the CSR bound to its connection: the next one is bound at once. */
  wasBound?: true;
};

/** A lost meta file loses no identity: everything in it can be done without. */
export function parseGenerationMeta(value: unknown): GenerationMeta {
  const fields = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>;
  const { keyKind, createdAt, receivedAt, suggestedWindow, attemptId, wasBound } = fields;
  const window = parseSuggestedWindow(suggestedWindow);
  return {
    version: 1,
    keyKind: KEY_KINDS.find((kind) => kind === keyKind) ?? 'ec-p256',
    createdAt: isTime(createdAt) ? createdAt : 0,
    ...(isTime(receivedAt) ? { receivedAt } : {}),
    ...(window === undefined ? {} : { suggestedWindow: window }),
    ...(typeof attemptId === 'string' ? { attemptId } : {}),
    ...(wasBound === true ? { wasBound } : {}),
  };
}

/** JSON can say 1e999. */
function isTime(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value);
}
