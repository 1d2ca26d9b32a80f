import { formatAttestationAttribute } from '#ca/pkix/attestation-attribute.ts';
import { formatCsr } from '#ca/pkix/csr.ts';
import { formatName } from '#ca/pkix/name.ts';
import { signMessage } from '#ca/pkix/signature-algorithm.ts';
import type { EndorsementKind } from '#ca/tpm2/endorsement-kind.ts';
import { bindEvidence } from '#ca/tpm2/qualifying-data.ts';
import type { SimulatedMaker } from '#simulators/tpm/simulated-maker.ts';
import { createSimulatedTpm, type SimulatedDeviceKey, type SimulatedTpm } from '#simulators/tpm/simulated-tpm.ts';

/** What a load needs of a device with a TPM: no agent, and everything slow is made before the clock runs. */
export type AttestedDevice = { tpm: SimulatedTpm; key: SimulatedDeviceKey };

export function makeAttestedDevice(maker: SimulatedMaker, endorsementKey: EndorsementKind): AttestedDevice {
  const tpm = createSimulatedTpm(maker, { ek: endorsementKey });
  return { tpm, key: tpm.createDeviceKey() };
}

/** @param secret of the challenge. @returns the CSR of round trip 2, DER */
export function formatAttestedCsr({ tpm, key }: AttestedDevice, secret: Buffer): Promise<Buffer> {
  const evidence = { ...tpm.certify(key, bindEvidence(secret, key.spki)), publicArea: key.publicArea };
  return formatCsr({
    subject: formatName({}),
    publicKey: key.spki,
    attributes: [formatAttestationAttribute(evidence)],
    signatureAlgorithm: 'ecdsa-sha256',
    sign: (message) => signMessage('ecdsa-sha256', message, key.privateKey),
  });
}
