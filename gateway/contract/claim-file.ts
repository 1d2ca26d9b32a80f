import type { DeviceId } from './device-id.ts';

/**
 * What `gatehouse ticket claim` writes (mode 0600) and a technician carries to a device that reaches the MQTT door only:
 * a key, its short-lived certificate that opens the enrolment topics and nothing else, and the root to expect. JSON.
 */
export type ClaimFile = {
  kind: 'gatehouse-claim';
  version: 1;
  deviceId: DeviceId;
  trustDomain: string;
  est: { host: string; port: number };
  mqtt: { host: string; port: number };
  /** PEM. */
  root: string;
  /** PEM: the claim's certificate, then its issuer. */
  certificates: string;
  /** PEM, PKCS#8. */
  privateKey: string;
  /** Milliseconds UTC. */
  expiresAt: number;
};
