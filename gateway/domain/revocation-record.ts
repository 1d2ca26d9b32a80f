import type { SerialNumber } from '#ca/pkix/serial-number.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';

export type RevocationRecord = {
  serial: SerialNumber;
  deviceId: DeviceId | null;
  /** RFC 5280 5.3.1 name. */
  reason: string;
  revokedAt: number;
  /** Of the certificate: the entry leaves the CRL after one issued later than this has listed it. */
  notAfter: number;
  requestedBy: string;
  /** From the request to the last socket closed, recorded once that happened. */
  closedAfterMs: number | null;
};

export type CrlRecord = { number: number; thisUpdate: number; nextUpdate: number; entries: number; der: Buffer };
