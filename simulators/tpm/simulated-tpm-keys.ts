import { signMessage } from '#ca/pkix/signature-algorithm.ts';
import { AgentError } from '#device-agent/domain/agent-error.ts';
import type { DeviceKey, KeyProvider } from '#device-agent/ports/key-provider.ts';
import type { SimulatedDeviceKey, SimulatedTpm } from './simulated-tpm.ts';

/**
 * The agent's keys in a TPM in memory: attested at every request like those of a real one. Only TLS gets the private key
 * itself, as a PEM, since OpenSSL knows nothing of this TPM.
 * @param ekChain intermediates that the TPM carries, DER
 */
export function createSimulatedTpmKeys(tpm: SimulatedTpm, ekChain: Buffer[]): KeyProvider {
  const made = new Map<string, SimulatedDeviceKey>();
  const find = (pem: string): SimulatedDeviceKey => {
    const key = made.get(pem);
    if (!key) throw new RangeError('this is not a key of this TPM');
    return key;
  };
  return {
    name: 'tpm',
    attester: {
      identify: async () => ({
        ekCertificate: tpm.ekCertificate,
        ekChain,
        ekPublic: tpm.ekPublic,
        akPublic: tpm.ak.publicArea,
      }),
      activate: async ({ credentialBlob, encryptedSecret }) => tpm.activateCredential(credentialBlob, encryptedSecret),
      certify: async (pem, qualifyingData) => {
        const key = find(pem);
        return { ...tpm.certify(key, qualifyingData), publicArea: key.publicArea };
      },
    },
    generate: async (kind) => {
      if (kind !== 'ec-p256') throw new AgentError('KEY_UNSUPPORTED', `keys in a TPM are of kind ec-p256, not ${kind}`);
      const key = tpm.createDeviceKey();
      const pem = key.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
      made.set(pem, key);
      return keyOf(pem, key);
    },
    load: (pem) => keyOf(pem, find(pem)),
  };
}

function keyOf(pem: string, { spki, privateKey }: SimulatedDeviceKey): DeviceKey {
  return {
    kind: 'ec-p256',
    publicKey: spki,
    signatureAlgorithm: 'ecdsa-sha256',
    pem,
    sign: async (message) => signMessage('ecdsa-sha256', message, privateKey),
  };
}
