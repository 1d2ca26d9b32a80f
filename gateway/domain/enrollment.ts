import type { SerialNumber } from '#ca/pkix/serial-number.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';

/**
 * One accepted request for a certificate. Recorded with its reserved serial before the authority is asked, so that
 * whatever happens in between the certificate can be found again. Refused requests stand in the audit only.
 */
export type Enrollment = {
  /** The attempt id: the same in the agent's output, the log and the audit. */
  id: string;
  deviceId: DeviceId;
  /** The device's at that time; null in those of older versions. */
  group: string | null;
  kind: 'enroll' | 'reenroll';
  door: 'est' | 'mqtt';
  address: string;
  keyKind: string;
  spkiSha256: string;
  ticketId: string | null;
  /** What a first one rests on, see EnrollmentRequest; null in renewals and in those of older versions. */
  grounds: string | null;
  /** The waiting request that a person approved: only then may it displace a certificate in use. */
  requestId: string | null;
  /** The key pair was made here for a CSR with this key (RFC 7030 4.4): SHA-256 of that key, of whose possession nothing is known. */
  serverKeyFor: string | null;
  /** The certificate that was shown to ask for this one. */
  replacesSerial: string | null;
  serial: SerialNumber;
  /** Of the attestation attribute the CSR carried: the very same evidence sent again is the same request. */
  evidenceSha256: string | null;
  /** The order sent to the authority, JSON, so that the same one can be asked again after a crash. */
  order: string;
  state: 'approved' | 'issued' | 'confirmed' | 'abandoned';
  createdAt: number;
  updatedAt: number;
};
