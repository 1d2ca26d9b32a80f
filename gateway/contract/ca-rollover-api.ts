import type { CaGenerationState } from './operator-api.ts';

/** What operators get about the replacement of CAs. Times are milliseconds UTC. */

/** `settled`: one issuing CA, and nothing under way. The others name what was done last. */
export const CA_ROLLOVER_PHASES = ['settled', 'prepared', 'announced', 'activated', 'tainted'] as const;
export type CaRolloverPhase = (typeof CA_ROLLOVER_PHASES)[number];

export type CaGenerationSummary = {
  /** Of the DER, lower-case hexadecimal. */
  sha256: string;
  kind: 'root' | 'intermediate' | 'cross';
  keyId: string;
  subject: string;
  state: CaGenerationState;
  notAfter: number;
  changedAt: number;
  reason: string | null;
};

export type CaRolloverStatus = {
  phase: CaRolloverPhase;
  /** Number of what devices are told to trust. */
  trustVersion: number;
  /** Oldest first. */
  generations: CaGenerationSummary[];
  /** Devices with a certificate in use. */
  devices: number;
  /** Those that use every anchor they are told to, and a certificate of the issuer in use. */
  ready: number;
  /** Rounded down to a tenth: 100 only when all are. */
  readyPercent: number;
  withAnchors: number;
  withCertificate: number;
  /** What to do next, in words. */
  next: string;
};

export const DEVICE_LACKS = ['anchors', 'certificate'] as const;
export type DeviceLack = (typeof DEVICE_LACKS)[number];

/** A device that would be cut off if the old CA were retired now. */
export type DeviceNotReady = {
  deviceId: string;
  group: string;
  connected: boolean;
  lacks: DeviceLack[];
  /** Of its certificate. */
  serial: string;
  issuerKeyId: string;
  notAfter: number;
  /** When it last said which anchors it uses; null: it never has. */
  anchorsSeenAt: number | null;
};

/** A step was taken. */
export type CaRolloverStep = {
  keyId: string;
  sha256: string;
  state: CaGenerationState;
  trustVersion: number;
  /** Of taint: the campaign that renews what it issued; null: there is nothing to renew. */
  campaignId: string | null;
};
