import type { SerialNumber } from '#ca/pkix/serial-number.ts';

/** Written in the transaction that revokes or releases: whatever lists revocations goes on from the last one it knows. */
export type StatusChange = {
  /** Only rises. */
  seq: number;
  serial: SerialNumber;
  issuerKeyId: string;
  /** `revoked-unlisted`: of a certificate that says itself that no status of it is published; it is on no CRL. */
  change: 'revoked' | 'revoked-unlisted' | 'released';
  /** RFC 5280 5.3.1 name. */
  reason: string;
  at: number;
  notAfter: number;
};

/**
 * What is on record of a signed list. `scope`: `full`, `delta` or `shard-<count>-<index>`, each of one issuer:
 * `<scope>@<issuer key id>`.
 */
export type StatusList = {
  scope: string;
  number: number;
  /** Of a delta: the list it goes on from. */
  baseNumber: number | null;
  thisUpdate: number;
  nextUpdate: number;
  entries: number;
  /** Status changes up to this one are on it. */
  seq: number;
};

export type PublishedList = StatusList & { der: Buffer };
