import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { EnrollmentRequestState, ProofLevel } from '#gateway/contract/operator-api.ts';

/**
 * A first enrollment that waits for a person. One open request for a device and key: asking again is the same request,
 * and after the approval it is the one that gets the certificate.
 */
export type EnrollmentRequest = {
  /** The id of the attempt that asked first. */
  id: string;
  /** Of a registered device, or what an unknown one calls itself. */
  deviceId: DeviceId;
  group: string;
  /**
   * `ticket:<id>`, `claim:<serial>`, `manufacturer:<sha256 of the CA>` or `registrar:<name>`; `expired:<serial>`: a
   * device that re-enrolls with a certificate that has expired.
   */
  grounds: string;
  door: 'est' | 'mqtt';
  address: string;
  keyKind: string;
  spkiSha256: string;
  proofLevel: ProofLevel;
  /** Of the maker's certificate, or as registered. */
  hardwareSerial: string | null;
  /** Why a person has to decide. */
  reason: string;
  state: EnrollmentRequestState;
  askedAt: number;
  lastAskedAt: number;
  timesAsked: number;
  expiresAt: number;
  decidedAt: number | null;
  decidedBy: string | null;
  note: string | null;
};

/** Milliseconds that a request waits for its decision, and an approval for its device. */
export const REQUEST_LIFE_MS = 7 * 24 * 3600 * 1000;
/** Waiting at the same time: in all, and of one group. Past it the answer is "ask again later". */
export const MAX_WAITING_REQUESTS = 10_000;
export const MAX_WAITING_REQUESTS_OF_GROUP = 2_000;
/** Of one device, with different keys; approved ones counted. */
export const MAX_WAITING_REQUESTS_OF_DEVICE = 3;
/** Milliseconds that one that is over stays to be read. */
export const REQUEST_HISTORY_MS = 90 * 24 * 3600 * 1000;
/** Seconds after which a waiting device asks again. */
export const APPROVAL_RETRY_SECONDS = 30;
