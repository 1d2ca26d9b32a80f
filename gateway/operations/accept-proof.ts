import type { Device } from '#gateway/domain/device.ts';
import type { Enrollment } from '#gateway/domain/enrollment.ts';
import type { Tables } from '#gateway/ports/store.ts';
import { requireOwnEk } from './judge-endorsement.ts';
import { type KeyProof, refuseChallenge } from './verify-attestation.ts';

/**
 * Inside the transaction that the proof is for: the challenge is used up, and the TPM is the device's own from now on.
 * @param begun what was begun for the same key before, when that is what will be given
 * @throws GatewayError ATTESTATION_CHALLENGE_USED, EK_BELONGS_TO_ANOTHER, EK_CHANGED
 */
export async function acceptProof(
  tables: Tables,
  acceptance: { proof: KeyProof; begun: Enrollment | undefined; device: Device; now: number },
): Promise<void> {
  const { proof, begun, now } = acceptance;
  const { deviceId } = acceptance.device;
  if (proof.by === 'nothing') return;
  if (begun?.evidenceSha256 === proof.evidenceSha256) return;
  // What that evidence was accepted for is over: it opens nothing a second time.
  if (proof.by === 'earlier request') throw refuseChallenge('ATTESTATION_CHALLENGE_USED', deviceId);
  await requireOwnEk(tables, deviceId, proof.ekSha256);
  const known = await tables.endorsements.find(deviceId);
  if (proof.by === 'nonce') {
    // Replaced or renewed in between: then that other AK has to speak.
    if (known?.akName !== proof.endorsement.akName) throw refuseChallenge('ATTESTATION_CHALLENGE_UNKNOWN', deviceId);
    await tables.endorsements.put({ ...known, proofLevel: proof.level, updatedAt: now });
    return;
  }
  const { challenge } = proof;
  // Looked at before; of two requests at once one gets it.
  if (!(await tables.challenges.use(challenge.id, now))) throw refuseChallenge('ATTESTATION_CHALLENGE_USED', deviceId);
  await tables.endorsements.put({
    ...challenge.endorsement,
    deviceId,
    akName: challenge.akName,
    akPublic: challenge.akPublic,
    proofLevel: proof.level,
    firstSeen: known?.firstSeen ?? now,
    updatedAt: now,
  });
}
