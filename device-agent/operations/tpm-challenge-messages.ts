import { AgentError } from '#device-agent/domain/agent-error.ts';
import type { TpmIdentity } from '#device-agent/ports/key-provider.ts';
import type { TpmChallengeRequest } from '#gateway/contract/attestation.ts';

/** What is asked in round trip 1, over HTTPS as a body and over MQTT inside a message. */
export function toTpmChallengeRequest({
  ekCertificate,
  ekChain,
  ekPublic,
  akPublic,
}: TpmIdentity): TpmChallengeRequest {
  return {
    version: 1,
    ...(ekCertificate
      ? { ekCertificate: ekCertificate.toString('base64') }
      : { ekPublic: ekPublic.toString('base64') }),
    ...(ekChain.length > 0 ? { ekChain: ekChain.map((der) => der.toString('base64')) } : {}),
    akPublic: akPublic.toString('base64'),
  };
}

/** @param value JSON as it came. @throws AgentError ANSWER_UNFIT */
export function readTpmChallengeAnswer(value: unknown): {
  kind: 'challenge';
  credentialBlob: Buffer;
  encryptedSecret: Buffer;
} {
  if (typeof value !== 'object' || value === null) throw unfit('it is not an object');
  const { version, credentialBlob, encryptedSecret } = value as Record<string, unknown>;
  if (version !== 1) throw unfit('its version is not known; update this agent');
  return {
    kind: 'challenge',
    credentialBlob: readSized(credentialBlob, 'credentialBlob'),
    encryptedSecret: readSized(encryptedSecret, 'encryptedSecret'),
  };
}

/** Base64 of a TPM2B structure. The size is checked here: the TPM's own word for a wrong one helps nobody. */
function readSized(value: unknown, name: string): Buffer {
  const bytes = typeof value === 'string' ? Buffer.from(value, 'base64') : Buffer.alloc(0);
  if (bytes.length < 3 || bytes.readUInt16BE(0) !== bytes.length - 2) throw unfit(`${name} is not a TPM2B structure`);
  return bytes;
}

function unfit(why: string): AgentError {
  return new AgentError('ANSWER_UNFIT', `the challenge of the gateway cannot be used: ${why}`);
}
