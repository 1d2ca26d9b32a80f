import type { SerialNumber } from '#ca/pkix/serial-number.ts';

/** Somebody who enrolls devices of some groups on their behalf (RFC 7030 3.7; EKU id-kp-cmcRA). */
export type Registrar = {
  name: string;
  groups: string[];
  serial: SerialNumber;
  notAfter: number;
  createdAt: number;
  createdBy: string;
};
