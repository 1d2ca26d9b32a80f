import { endorsementKindOf } from '#ca/tpm2/endorsement-kind.ts';
import { makeCredential } from '#ca/tpm2/make-credential.ts';
import { nameOf, type PublicArea, parsePublicArea } from '#ca/tpm2/public-area.ts';
import { formatSpki } from '#ca/tpm2/public-area-key.ts';
import { endorsementAreaOf } from '#ca/tpm2/templates.ts';
import { checkAttestationKey } from '#ca/tpm2/verify-certify.ts';
import type { ProofLevel } from '#gateway/contract/operator-api.ts';
import {
  type AttestationChallenge,
  CHALLENGE_LIFE_MS,
  CHALLENGE_SECRET_BYTES,
  CHALLENGES_IN_ALL,
  CHALLENGES_PER_DEVICE,
} from '#gateway/domain/attestation/challenge.ts';
import {
  type EndorsementFacts,
  ekPublicKeyOf,
  ekSha256Of,
  parseEkCertificate,
} from '#gateway/domain/attestation/endorsement.ts';
import { highestProof } from '#gateway/domain/attestation/proof.ts';
import { type Device, meetsProof } from '#gateway/domain/device.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import type { Randomness } from '#gateway/ports/randomness.ts';
import type { Store, Tables } from '#gateway/ports/store.ts';
import { authorizeEnrollment, type EnrollmentCredentials } from './authorize-enrollment.ts';
import { formatGrounds } from './enrollment-grounds.ts';
import { findOwnCertificate, identifyPeer } from './identify-peer.ts';
import { judgeEndorsement, requireOwnEk } from './judge-endorsement.ts';
import { type Arrival, type AttemptDeps, type AttemptFacts, recordAttempt } from './record-attempt.ts';
import { refuseTpmErrors } from './refuse-tpm-error.ts';
import { requireOwnLabel } from './require-label.ts';

export type ChallengeDeps = AttemptDeps & { store: Store; random: Randomness };

/** As for the enrollment or renewal that follows. */
export type ChallengeCredentials = EnrollmentCredentials;

export type ChallengeOrder = Arrival & {
  credentials: ChallengeCredentials;
  /** The group asked for (see require-label.ts). */
  label?: string;
  /** DER. */
  ekCertificate?: Buffer;
  /** DER, intermediates of the EK certificate. */
  ekChain: Buffer[];
  /** TPMT_PUBLIC. */
  ekPublic?: Buffer;
  /** TPMT_PUBLIC. */
  akPublic: Buffer;
};

export type ChallengeMade = {
  challengeId: string;
  /** TPM2B_ID_OBJECT. */
  credentialBlob: Buffer;
  /** TPM2B_ENCRYPTED_SECRET. */
  encryptedSecret: Buffer;
  /** Seconds. */
  expiresIn: number;
};

/**
 * The first round trip of an attested enrollment: a secret that only a TPM with this EK can open, and only for this AK
 * (TPM2_MakeCredential, TPM 2.0 Part 3, 12.6). What can be refused already is refused here, before the TPM works.
 * @throws GatewayError with the code of the step that refused
 */
export async function createTpmChallenge(deps: ChallengeDeps, order: ChallengeOrder): Promise<ChallengeMade> {
  const made = async (facts: AttemptFacts): Promise<ChallengeMade> => {
    const { steps } = facts;
    const { device, proof, askedBy, serial } = await steps.run('credentials', () => identifyAsker(deps, order));
    facts.deviceId = device.deviceId;
    facts.serial = serial;
    return steps.run('challenge', () => makeChallenge(deps, order, { device, proof, askedBy }));
  };
  return recordAttempt(deps, { ...order, kind: 'challenge' }, made, () => 'challenged');
}

async function makeChallenge(
  deps: ChallengeDeps,
  order: ChallengeOrder,
  { device, proof, askedBy }: Asker,
): Promise<ChallengeMade> {
  const { deviceId } = device;
  const now = deps.clock.now();
  const { area, ...endorsement } = readEndorsementKey(order);
  const ak = refuseTpmErrors(() => {
    const parsed = parsePublicArea(order.akPublic, 'the attestation key');
    checkAttestationKey(parsed);
    return parsed;
  });
  await requireOwnEk(deps.store.read, deviceId, endorsement.ekSha256);
  const known = await deps.store.read.endorsements.find(deviceId);
  const { level, shortfall } = await judgeEndorsement(deps.store.read, endorsement, { deviceId, now });
  const needed = highestProof(proof, device.proofLevel, known?.proofLevel);
  if (shortfall !== undefined && !meetsProof(level, needed)) {
    throw new GatewayError(shortfall.code, shortfall.why, { subject: { deviceId } });
  }
  const akName = nameOf(ak);
  const secret = deps.random.bytes(CHALLENGE_SECRET_BYTES);
  const credential = refuseTpmErrors(() =>
    makeCredential({ ekPublic: area, akName, secret, random: (size) => deps.random.bytes(size) }),
  );
  const challenge: AttestationChallenge = {
    id: deps.random.id('c'),
    deviceId,
    askedBy,
    endorsement,
    proofLevel: level,
    akName: akName.toString('hex'),
    akPublic: order.akPublic,
    secret,
    createdAt: now,
    expiresAt: now + CHALLENGE_LIFE_MS,
    usedAt: null,
  };
  await deps.store.write((tables) => keepChallenge(tables, challenge, now));
  return { challengeId: challenge.id, ...credential, expiresIn: CHALLENGE_LIFE_MS / 1000 };
}

/** serial: of the certificate to be renewed. */
type Asker = { device: Device; proof: ProofLevel; askedBy: string; serial?: string };

/**
 * As the enrollment or renewal that follows will authenticate. A maker's certificate may stand for a device that is not
 * registered: what its group says to that is said here already, before the TPM works.
 */
async function identifyAsker(deps: ChallengeDeps, { credentials, label }: ChallengeOrder): Promise<Asker> {
  if (credentials.by === 'certificate') {
    const { certificate } = await findOwnCertificate(deps.store, credentials.peer);
    if (certificate?.profile === 'device') {
      const identity = await identifyPeer(deps, credentials.peer, { admitsExpired: true });
      const { device, policy } = identity;
      await requireOwnLabel(deps.store.read, device, label);
      const { serial } = certificate;
      return { device, proof: policy.proof, askedBy: `certificate:${serial}`, serial };
    }
  }
  const application = { credentials, ...(label !== undefined && { label }) };
  const { device, group, grounds, isRegistered } = await authorizeEnrollment(deps, application);
  if (!isRegistered && group.policy.approval === 'registered') {
    throw new GatewayError('DEVICE_UNKNOWN', 'this device is not registered', {
      subject: { deviceId: device.deviceId },
    });
  }
  return { device, proof: group.policy.proof, askedBy: formatGrounds(grounds) };
}

/** The EK from its certificate, its public area, or both: then they must be the same key. */
function readEndorsementKey(order: ChallengeOrder): EndorsementFacts & { area: PublicArea } {
  const { ekCertificate, ekPublic, ekChain } = order;
  const certified = ekCertificate === undefined ? undefined : ekPublicKeyOf(parseEkCertificate(ekCertificate));
  if (certified === undefined && ekPublic === undefined) {
    throw new GatewayError('REQUEST_INVALID', 'neither ekCertificate nor ekPublic was sent');
  }
  return refuseTpmErrors(() => {
    const shown = ekPublic === undefined ? undefined : parsePublicArea(ekPublic, 'the endorsement key');
    const area = shown ?? endorsementAreaOf(certified ?? Buffer.alloc(0));
    endorsementKindOf(area);
    // Alone, the certificate's own encoding will do: ekPublicKeyOf takes the one that formatSpki writes, and no other.
    const spki = shown === undefined && certified !== undefined ? certified : formatSpki(area);
    if (certified !== undefined && !certified.equals(spki)) {
      throw new GatewayError('EK_MISMATCH', 'the EK certificate and the EK public area are of different keys');
    }
    return { area, ekSha256: ekSha256Of(spki), ekCertificate: ekCertificate ?? null, ekChain };
  });
}

/** The oldest of the device makes room; of the fleet nobody does. */
async function keepChallenge(tables: Tables, challenge: AttestationChallenge, now: number): Promise<void> {
  if (await tables.challenges.hasOutstanding(CHALLENGES_IN_ALL, now)) {
    throw new GatewayError('OVERLOADED', 'too many challenges are waiting for their answer', { retryAfter: 30 });
  }
  const held = await tables.challenges.listByDevice(challenge.deviceId);
  for (const { id } of held.slice(CHALLENGES_PER_DEVICE - 1)) await tables.challenges.remove(id);
  await tables.challenges.insert(challenge);
}
