/**
 * What a list covers (RFC 5280 5): all of an issuer's certificates; the part of them whose serials fall into one shard;
 * or what changed since an earlier complete list.
 */
export type CrlScope =
  | {
      kind: 'full';
      /** Names where delta lists are found (RFC 5280 5.2.6); left out: there are none. */
      hasDelta?: boolean;
    }
  | { kind: 'shard'; index: number; count: number }
  | {
      kind: 'delta';
      /** Number of the complete list it goes on from. */
      baseNumber: number;
    };

/** Name of a scope: numbers and times are held against the last list of the same name. */
export function formatCrlScope(scope: CrlScope): string {
  return scope.kind === 'shard' ? `shard-${scope.count}-${scope.index}` : scope.kind;
}
