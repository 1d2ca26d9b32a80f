import { hash } from 'node:crypto';
import { type CsrAttestation, parseAttestationAttribute } from '#ca/pkix/attestation-attribute.ts';
import { OID } from '#ca/pkix/oids.ts';
import { PkixError } from '#ca/pkix/pkix-error.ts';
import { parseCertifyAttest } from '#ca/tpm2/attest.ts';
import { parsePublicArea } from '#ca/tpm2/public-area.ts';
import { formatSpki } from '#ca/tpm2/public-area-key.ts';
import { verifyCertifyEvidence } from '#ca/tpm2/verify-certify.ts';
import type { ProofLevel } from '#gateway/contract/operator-api.ts';
import {
  type AttestationChallenge,
  type ChallengeRefusal,
  isBoundTo,
  judgeChallenge,
} from '#gateway/domain/attestation/challenge.ts';
import type { Endorsement, TpmProofLevel } from '#gateway/domain/attestation/endorsement.ts';
import { highestProof } from '#gateway/domain/attestation/proof.ts';
import { type Device, meetsProof } from '#gateway/domain/device.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { Store } from '#gateway/ports/store.ts';
import { proofLevelOf } from './issue-recorded.ts';
import { judgeEndorsement } from './judge-endorsement.ts';
import type { AcceptedCsr } from './read-csr.ts';
import { refuseTpmErrors } from './refuse-tpm-error.ts';

export type ProofDeps = { store: Pick<Store, 'read'>; clock: Clock };

export type ProofRequest = {
  device: Device;
  group: { name: string; proof: ProofLevel };
  csr: AcceptedCsr;
  /** The grounds of the enrollment, or `certificate:<serial>`: as the challenge was asked for. */
  askedBy: string;
  /** The unused nonce of this TLS session. */
  nonce: Buffer | undefined;
};

/** What is known of where the key of a CSR lives, and by which freshness. To be recorded with acceptProof. */
export type KeyProof =
  | { level: 'software'; by: 'nothing'; evidenceSha256: null; ekSha256: null }
  | {
      level: TpmProofLevel;
      by: 'challenge';
      challenge: AttestationChallenge;
      evidenceSha256: string;
      ekSha256: string;
    }
  | { level: TpmProofLevel; by: 'nonce'; endorsement: Endorsement; evidenceSha256: string; ekSha256: string }
  /** The very same evidence for the very same key was accepted before: an answer was lost. */
  | { level: ProofLevel; by: 'earlier request'; evidenceSha256: string; ekSha256: null };

const SOFTWARE: KeyProof = { level: 'software', by: 'nothing', evidenceSha256: null, ekSha256: null };

/**
 * The proof level of the key of this CSR. Evidence that is there is always verified, also where a software key would
 * do; and less than the device has shown before is never enough.
 * @throws GatewayError ATTESTATION_REQUIRED, PROOF_TOO_LOW, or the code of what is wrong with the evidence
 */
export async function proveKey(deps: ProofDeps, request: ProofRequest): Promise<KeyProof> {
  const { device, group, csr } = request;
  const { read } = deps.store;
  const subject = { deviceId: device.deviceId };
  const attestation = readAttestation(csr);
  const endorsement = await read.endorsements.find(device.deviceId);
  const needed = highestProof(group.proof, device.proofLevel, endorsement?.proofLevel);
  if (attestation === undefined) {
    if (needed === 'software') return SOFTWARE;
    const why = needed === group.proof ? `the group "${group.name}" requires it` : 'this device has shown it before';
    throw new GatewayError('ATTESTATION_REQUIRED', `the key must be proved to live in a TPM (${needed}): ${why}`, {
      subject,
    });
  }
  const proof = await verify(deps, request, attestation, endorsement);
  if (!meetsProof(proof.level, needed)) {
    throw new GatewayError('PROOF_TOO_LOW', `the key is proved at level ${proof.level}, but ${needed} is required`, {
      subject,
    });
  }
  return proof;
}

type Attestation = CsrAttestation & { sha256: string };

function readAttestation({ request }: AcceptedCsr): Attestation | undefined {
  try {
    const attestation = parseAttestationAttribute(request.attributes);
    if (attestation === undefined) return undefined;
    const [value = Buffer.alloc(0)] = request.attributes.get(OID.aaAttestation) ?? [];
    return { ...attestation, sha256: hash('sha256', value, 'hex') };
  } catch (cause) {
    if (!(cause instanceof PkixError)) throw cause;
    throw new GatewayError('ATTESTATION_MALFORMED', `the attestation in the CSR cannot be read: ${cause.message}`, {
      cause,
    });
  }
}

async function verify(
  deps: ProofDeps,
  request: ProofRequest,
  attestation: Attestation,
  endorsement: Endorsement | undefined,
): Promise<KeyProof> {
  const { device, csr, askedBy, nonce } = request;
  const { read } = deps.store;
  const { deviceId } = device;
  const now = deps.clock.now();
  const evidenceSha256 = attestation.sha256;
  const earlier = (await read.enrollments.listByKey(deviceId, csr.spkiSha256)).find(
    (enrollment) => enrollment.evidenceSha256 === evidenceSha256 && enrollment.state !== 'abandoned',
  );
  if (earlier !== undefined) {
    return { level: proofLevelOf(earlier), by: 'earlier request', evidenceSha256, ekSha256: null };
  }

  const { extraData } = refuseTpmErrors(() => parseCertifyAttest(attestation.attest));
  const csrKey = csr.request.publicKey;
  // First by the key of the CSR, as it should be; then by the attested key, so that honest evidence about another key
  // than the CSR's is told apart from evidence for another session. Importing that key is left to this rare case.
  const findFresh = (spki: Buffer) => findFreshness(spki, extraData, { nonce, endorsement, challenges });
  const challenges = await read.challenges.listByDevice(deviceId);
  const fresh = findFresh(csrKey) ?? findFresh(readAttestedKey(attestation));
  if (fresh === undefined) throw refuseChallenge('ATTESTATION_CHALLENGE_UNKNOWN', deviceId);
  if (fresh.by === 'nonce') {
    const { endorsement } = fresh;
    verifyWith(endorsement, { attestation, extraData, csrKey });
    const { level } = await judgeEndorsement(read, endorsement, { deviceId, now });
    return { level, by: 'nonce', endorsement, evidenceSha256, ekSha256: endorsement.ekSha256 };
  }
  const { challenge } = fresh;
  const refusal = judgeChallenge(challenge, askedBy, now);
  if (refusal !== undefined) throw refuseChallenge(refusal, deviceId);
  verifyWith(challenge, { attestation, extraData, csrKey });
  const { endorsement: ek, proofLevel } = challenge;
  return { level: proofLevel, by: 'challenge', challenge, evidenceSha256, ekSha256: ek.ekSha256 };
}

type Freshness = { by: 'nonce'; endorsement: Endorsement } | { by: 'challenge'; challenge: AttestationChallenge };

function findFreshness(
  spki: Buffer,
  extraData: Buffer,
  held: {
    nonce: Buffer | undefined;
    endorsement: Endorsement | undefined;
    challenges: readonly AttestationChallenge[];
  },
): Freshness | undefined {
  const { nonce, endorsement, challenges } = held;
  if (nonce !== undefined && endorsement !== undefined && isBoundTo(extraData, nonce, spki))
    return { by: 'nonce', endorsement };
  const challenge = challenges.find(({ secret }) => isBoundTo(extraData, secret, spki));
  return challenge === undefined ? undefined : { by: 'challenge', challenge };
}

function readAttestedKey({ publicArea }: Attestation): Buffer {
  return refuseTpmErrors(() => formatSpki(parsePublicArea(publicArea, 'the attested key')));
}

function verifyWith(
  ak: { akPublic: Buffer; akName: string },
  { attestation, extraData, csrKey }: { attestation: Attestation; extraData: Buffer; csrKey: Buffer },
): void {
  try {
    refuseTpmErrors(() =>
      verifyCertifyEvidence({
        ak: ak.akPublic,
        expectedAkName: Buffer.from(ak.akName, 'hex'),
        attested: attestation.publicArea,
        attest: attestation.attest,
        signature: attestation.signature,
        // Found to be one of ours before; that the attested key is the key of the CSR is checked inside.
        qualifyingData: extraData,
        csrPublicKey: csrKey,
      }),
    );
  } catch (error) {
    // A key that is none at all has its own refusal.
    if (error instanceof GatewayError && error.code === 'ATTESTED_KEY_DIFFERS') readAttestedKey(attestation);
    throw error;
  }
}

const CHALLENGE_REFUSALS = {
  ATTESTATION_CHALLENGE_UNKNOWN: 'the attestation answers no challenge of this device and no nonce of this connection',
  ATTESTATION_CHALLENGE_USED: 'the challenge that the attestation answers was used before',
  ATTESTATION_CHALLENGE_EXPIRED: 'the challenge that the attestation answers has expired',
  ATTESTATION_CHALLENGE_OF_ANOTHER: 'the challenge that the attestation answers was asked for with other credentials',
} as const satisfies Record<ChallengeRefusal, string>;

export function refuseChallenge(code: ChallengeRefusal, deviceId: string): GatewayError {
  return new GatewayError(code, CHALLENGE_REFUSALS[code], { subject: { deviceId } });
}
