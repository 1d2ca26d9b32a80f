import { bindEvidence } from '#ca/tpm2/qualifying-data.ts';
import { AgentError } from '#device-agent/domain/agent-error.ts';
import type { KeyProvider } from '#device-agent/ports/key-provider.ts';
import type { AttestBody } from '#gateway/contract/notice.ts';
import type { AttestEvidence } from '#gateway/contract/reports.ts';
import type { Identity } from './identity.ts';

/**
 * The TPM certifies the key in use, bound to the nonce of the notice: what a copy of this disk elsewhere cannot do.
 * @throws AgentError TPM_UNUSABLE
 */
export async function answerAttest(
  { attester }: KeyProvider,
  { key }: Pick<Identity, 'key'>,
  { nonce }: AttestBody,
): Promise<AttestEvidence> {
  if (!attester)
    throw new AgentError('TPM_UNUSABLE', 'the key of this device is not in a TPM: it cannot be proved again');
  const { attest, signature, publicArea } = await attester.certify(
    key.pem,
    bindEvidence(Buffer.from(nonce, 'base64url'), key.publicKey),
  );
  return {
    attest: attest.toString('base64'),
    signature: signature.toString('base64'),
    publicArea: publicArea.toString('base64'),
  };
}
