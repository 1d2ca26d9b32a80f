import { timingSafeEqual } from 'node:crypto';
import { bindEvidence } from '#ca/tpm2/qualifying-data.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { EndorsementFacts, TpmProofLevel } from './endorsement.ts';

/** Long enough for a slow discrete TPM and a bad network; short enough that a found secret is worth little. */
export const CHALLENGE_LIFE_MS = 5 * 60_000;
/** Of one device: it may lose answers. The fifth takes the place of the oldest, so that nobody is ever locked out. */
export const CHALLENGES_PER_DEVICE = 4;
/** Unused ones of all devices together: bounds the table whatever the fleet does at once. */
export const CHALLENGES_IN_ALL = 20_000;
export const CHALLENGE_SECRET_BYTES = 32;

/**
 * A secret encrypted so that only the TPM with this EK can open it, and only for this AK (TPM2_MakeCredential). Good
 * for one certificate, of one device, for who asked for it.
 * The secret stands here in clear: the evidence holds only a digest of it, so it has to be found by computing. It opens
 * nothing without the TPM, and ends with its first use or after five minutes.
 */
export type AttestationChallenge = {
  id: string;
  deviceId: DeviceId;
  /** The grounds of an enrollment (`ticket:<id>` ...) or `certificate:<serial>`: the evidence has to come from the same. */
  askedBy: string;
  endorsement: EndorsementFacts;
  /** What the EK was worth when the challenge was made. */
  proofLevel: TpmProofLevel;
  /** Lower-case hexadecimal. */
  akName: string;
  /** TPMT_PUBLIC. */
  akPublic: Buffer;
  secret: Buffer;
  createdAt: number;
  expiresAt: number;
  usedAt: number | null;
};

/**
 * @param extraData of the evidence @param freshness the opened secret, or the nonce @param spki DER
 * @returns true when this freshness and this key make that qualifying data
 */
export function isBoundTo(extraData: Buffer, freshness: Buffer, spki: Buffer): boolean {
  const bound = bindEvidence(freshness, spki);
  return bound.length === extraData.length && timingSafeEqual(bound, extraData);
}

export type ChallengeRefusal =
  | 'ATTESTATION_CHALLENGE_UNKNOWN'
  | 'ATTESTATION_CHALLENGE_USED'
  | 'ATTESTATION_CHALLENGE_EXPIRED'
  | 'ATTESTATION_CHALLENGE_OF_ANOTHER';

/** @param askedBy who brings the evidence @param now milliseconds UTC */
export function judgeChallenge(
  challenge: AttestationChallenge,
  askedBy: string,
  now: number,
): ChallengeRefusal | undefined {
  if (challenge.askedBy !== askedBy) return 'ATTESTATION_CHALLENGE_OF_ANOTHER';
  if (challenge.usedAt !== null) return 'ATTESTATION_CHALLENGE_USED';
  return now >= challenge.expiresAt ? 'ATTESTATION_CHALLENGE_EXPIRED' : undefined;
}
