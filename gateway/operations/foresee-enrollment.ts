import type { EnrollmentGrounds } from '#gateway/contract/operator-api.ts';
import { highestProof } from '#gateway/domain/attestation/proof.ts';
import { type Device, isBarred, meetsProof } from '#gateway/domain/device.ts';
import type { GatewayErrorCode } from '#gateway/domain/gateway-error.ts';
import type { Group } from '#gateway/domain/group.ts';
import type { PolicyFacts, PolicyFinding } from '#gateway/domain/policy/judge-policy.ts';
import type { Tables } from '#gateway/ports/store.ts';

type Thought = { by: EnrollmentGrounds | undefined; device: Device; isRegistered: boolean; group: Group };

/**
 * What would be said of somebody before the policy of the group is looked at: whether this device may come by these
 * grounds at all, see authorize-enrollment.ts.
 */
export async function foreseeCredentials(
  read: Pick<Tables, 'manufacturerCas' | 'registrars'>,
  { by, device, isRegistered, group }: Thought,
): Promise<PolicyFinding> {
  const rule = 'credentials';
  const refused = (code: GatewayErrorCode, detail: string): PolicyFinding => ({
    rule,
    outcome: 'refused',
    code,
    detail,
  });
  if (isBarred(device)) return refused('DEVICE_NOT_ALLOWED', `this device is ${device.state}`);
  switch (by) {
    case undefined:
      return { rule, outcome: 'not checked', detail: 'by what it may ask was not said' };
    case 'ticket':
    case 'claim':
      if (!isRegistered) return refused('DEVICE_UNKNOWN', 'a ticket is made for a registered device');
      break;
    case 'manufacturer':
      if ((await read.manufacturerCas.list(group.name)).length === 0)
        return refused('MANUFACTURER_UNTRUSTED', 'no maker is trusted in this group');
      // Found by its hardware serial; a name that is the same by chance is not taken for it.
      if (isRegistered && device.hardwareSerial === null)
        return refused('DEVICE_NOT_ALLOWED', 'this device is registered without a hardware serial');
      break;
    case 'registrar':
      if (!(await read.registrars.list()).some(({ groups }) => groups.includes(group.name)))
        return refused('REGISTRAR_NOT_ALLOWED', 'no registrar enrolls in this group');
      break;
  }
  return { rule, outcome: 'passed', detail: by };
}

/** As verify-attestation.ts has it: the group's level, or a higher one that the device has shown before. */
export async function foreseeProof(
  read: Pick<Tables, 'endorsements'>,
  { device, group, facts }: { device: Device; group: Group; facts: Pick<PolicyFacts, 'proofLevel'> },
): Promise<PolicyFinding> {
  const rule = 'proof level';
  const { proof } = group.policy;
  const { proofLevel } = facts;
  const needed = highestProof(proof, device.proofLevel, (await read.endorsements.find(device.deviceId))?.proofLevel);
  if (meetsProof(proofLevel, needed)) return { rule, outcome: 'passed', detail: proofLevel };
  const who = needed === proof ? 'the group requires' : 'the device has shown before, and needs,';
  const code = proofLevel === 'software' ? 'ATTESTATION_REQUIRED' : 'PROOF_TOO_LOW';
  return { rule, outcome: 'refused', code, detail: `${who} ${needed}; proved is ${proofLevel}` };
}
