import { Agent, type AgentOptions, request } from 'node:https';
import { text } from 'node:stream/consumers';
import type { TpmChallengeAnswer, TpmChallengeRequest } from '#gateway/contract/attestation.ts';
import { TPM_CHALLENGE_PATH } from '#gateway/contract/attestation.ts';
import { CONTENT_TYPE, EST_BASE_PATH } from '#gateway/contract/est.ts';
import { type AttestedDevice, formatAttestedCsr } from './attested-device.ts';

export type EnrollTarget = { host: string; port: number; ca: string };

/**
 * Both round trips of an attested enrollment on one new TLS connection.
 * @param ekChain DER. @throws Error with the status and text of a refusal
 */
export async function enrollAttested(
  target: EnrollTarget,
  device: AttestedDevice & { deviceId: string; ticket: string },
  ekChain: Buffer[],
): Promise<void> {
  // The issuing CA is the anchor: a P-384 signature less to verify for the load.
  const tls: AgentOptions = { ca: target.ca, allowPartialTrustChain: true, keepAlive: true, maxSockets: 1 };
  const agent = new Agent(tls);
  const basic = `Basic ${Buffer.from(`${device.deviceId}:${device.ticket}`).toString('base64')}`;
  const post = async (path: string, type: string, body: string): Promise<string> => {
    const { host, port } = target;
    const headers = { 'Content-Type': type, 'Content-Length': Buffer.byteLength(body), Authorization: basic };
    const { promise, resolve, reject } = Promise.withResolvers<{ status: number; answer: string }>();
    const message = request({ host, port, path, method: 'POST', agent, headers }, (response) => {
      text(response).then((answer) => resolve({ status: response.statusCode ?? 0, answer }), reject);
    });
    message.on('error', reject);
    message.end(body);
    const { status, answer } = await promise;
    if (status !== 200) throw new Error(`${path}: ${status} ${answer.trim()}`);
    return answer;
  };
  try {
    const { tpm } = device;
    const shown: TpmChallengeRequest = {
      version: 1,
      ekCertificate: tpm.ekCertificate.toString('base64'),
      ekChain: ekChain.map((der) => der.toString('base64')),
      akPublic: tpm.ak.publicArea.toString('base64'),
    };
    const challenge = await post(TPM_CHALLENGE_PATH, 'application/json', JSON.stringify(shown));
    const { credentialBlob, encryptedSecret } = JSON.parse(challenge) as TpmChallengeAnswer;
    const secret = tpm.activateCredential(
      Buffer.from(credentialBlob, 'base64'),
      Buffer.from(encryptedSecret, 'base64'),
    );
    const csr = await formatAttestedCsr(device, secret);
    await post(`${EST_BASE_PATH}/simpleenroll`, CONTENT_TYPE.csr, csr.toString('base64'));
  } finally {
    agent.destroy();
  }
}
