import { parseSizedPublicArea } from '#ca/tpm2/public-area.ts';
import { formatSpki } from '#ca/tpm2/public-area-key.ts';
import { AgentError } from '#device-agent/domain/agent-error.ts';
import type { TlsKeyAccess } from '#device-agent/domain/agent-status.ts';
import type { DeviceKey, KeyProvider } from '#device-agent/ports/key-provider.ts';
import type { TpmDevice } from './tpm-device.ts';
import { isTss2Pem, parseTss2Pem } from './tss2-key.ts';

/** Keys that are made in the TPM, stay in it, and can be used by it alone. What the state folder holds is worthless elsewhere. */
export function createTpmKeys(tpm: TpmDevice, tlsKeyAccess?: TlsKeyAccess): KeyProvider {
  return {
    name: 'tpm',
    attester: tpm,
    ...(tlsKeyAccess ? { tlsKeyAccess } : {}),
    generate: async (kind) => {
      if (kind !== 'ec-p256') {
        throw new AgentError('KEY_UNSUPPORTED', `keys in the TPM are of kind ec-p256, not ${kind}`, {
          advice: 'leave --algorithm out',
        });
      }
      return keyOf(tpm, await tpm.createKey());
    },
    load: (pem) => keyOf(tpm, pem),
  };
}

/** Read without asking the TPM: whether it is the right one shows at the first use. */
function keyOf(tpm: TpmDevice, pem: string): DeviceKey {
  // A software key where a TPM key should be is no key of this device.
  if (!isTss2Pem(pem)) throw new RangeError('this is not a key of a TPM');
  const area = parseSizedPublicArea(Buffer.from(parseTss2Pem(pem).publicArea), 'the key of the device');
  if (area.type !== 'ecc' || area.curve !== 'P-256') throw new RangeError('the key in the TPM is not of kind ec-p256');
  return {
    kind: 'ec-p256',
    publicKey: formatSpki(area),
    signatureAlgorithm: 'ecdsa-sha256',
    pem,
    sign: (message) => tpm.sign(pem, message),
  };
}
