import { generateKeyPair, type KeyObject } from 'node:crypto';
import { OID } from '#ca/pkix/oids.ts';
import { type KeyKind, spkiSha256 } from '#ca/pkix/public-key.ts';
import type { GroupPolicy } from '#gateway/contract/operator-api.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import { admitApplicant, type FirstRequest } from './admit-applicant.ts';
import type { EnrollDeps } from './enroll-device.ts';
import { grantEnrollment } from './grant-enrollment.ts';
import { issueRecorded } from './issue-recorded.ts';
import { type AcceptedCsr, readUnsignedCsr } from './read-csr.ts';
import { type AttemptFacts, recordAttempt } from './record-attempt.ts';
import { shutOut } from './shut-out.ts';

/** PKCS#8 and certificate, DER. */
export type ServerKeyEnrolled = { privateKey: Buffer; certificate: Buffer };

/**
 * First enrollment with a key pair made here (RFC 7030 4.4), for devices that cannot make one. The key is sent once and
 * kept nowhere: asked again before it was used, its certificate is revoked and another pair is made.
 * The key and the signature in the CSR mean nothing, but the key tells one who asks again from another one.
 * @throws GatewayError SERVER_KEYGEN_OFF, ATTESTATION_REQUIRED, and as enrollDevice
 */
export async function enrollWithServerKey(
  deps: EnrollDeps,
  request: Omit<FirstRequest, 'nonce'>,
): Promise<ServerKeyEnrolled> {
  const enrolled = async (facts: AttemptFacts): Promise<ServerKeyEnrolled> => {
    const accept = (policy: GroupPolicy) => acceptForServerKey(request.csr, policy);
    const admitted = await admitApplicant(deps, facts, { request, accept });
    let privateKey: KeyObject | undefined;
    const makeKey = async (): Promise<AcceptedCsr> => {
      const { csr } = admitted.judged;
      const pair = await KEY_MAKERS[csr.keyKind]();
      privateKey = pair.privateKey;
      const publicKey = pair.publicKey.export({ type: 'spki', format: 'der' });
      return { ...csr, request: { ...csr.request, publicKey }, spkiSha256: spkiSha256(publicKey) };
    };
    const granted = await grantEnrollment(deps, facts, admitted, makeKey);
    if (granted.outcome !== 'issue' || privateKey === undefined)
      throw new GatewayError('INTERNAL', 'a key made here has no certificate that was given before');
    await shutOut(deps, granted.ended, 'asked for again');
    const { pendingLapseSeconds } = admitted.applicant.group.policy;
    const issue = () => issueRecorded(deps, granted.enrollment, pendingLapseSeconds);
    const { der } = await facts.steps.run('certificate', issue, ({ serial }) => `serial ${serial}, key made here`);
    return { privateKey: privateKey.export({ type: 'pkcs8', format: 'der' }), certificate: der };
  };
  return recordAttempt(deps, { ...request, kind: 'enroll' }, enrolled, () => 'issued');
}

/** RFC 7030 4.4.1.1 and 4.4.1.2: the private key encrypted for a key named there, of which none is known here. */
const WRAPPING_KEYS = [OID.decryptKeyIdentifier, OID.asymmetricDecryptKeyIdentifier];

function acceptForServerKey(der: Buffer, policy: GroupPolicy): AcceptedCsr {
  if (!policy.serverKeygen) {
    throw new GatewayError('SERVER_KEYGEN_OFF', 'the group of this device does not have keys made here');
  }
  const { request, keyKind } = readUnsignedCsr(der);
  if (WRAPPING_KEYS.some((type) => request.attributes.has(type))) {
    throw new GatewayError('REQUEST_INVALID', 'the key to encrypt the private key with is not known here');
  }
  const [first] = policy.keys;
  const kind = keyKind !== undefined && policy.keys.includes(keyKind) ? keyKind : first;
  if (kind === undefined) throw new GatewayError('KEY_NOT_ALLOWED', 'the group allows no kind of key');
  // Evidence would be about the key of the CSR, which nobody will have a certificate for.
  const attributes = new Map([...request.attributes].filter(([type]) => type !== OID.aaAttestation));
  return { request: { ...request, attributes }, keyKind: kind, spkiSha256: spkiSha256(request.publicKey) };
}

type KeyPair = { publicKey: KeyObject; privateKey: KeyObject };

/** In the thread pool: an RSA key of 4096 bits takes a second. */
function make(work: (done: (error: Error | null, publicKey: KeyObject, privateKey: KeyObject) => void) => void) {
  return new Promise<KeyPair>((resolve, reject) => {
    work((error, publicKey, privateKey) => {
      if (error === null) resolve({ publicKey, privateKey });
      else reject(error);
    });
  });
}

const KEY_MAKERS = {
  'ec-p256': () => make((done) => generateKeyPair('ec', { namedCurve: 'P-256' }, done)),
  'ec-p384': () => make((done) => generateKeyPair('ec', { namedCurve: 'P-384' }, done)),
  ed25519: () => make((done) => generateKeyPair('ed25519', undefined, done)),
  'rsa-2048': () => make((done) => generateKeyPair('rsa', { modulusLength: 2048 }, done)),
  'rsa-3072': () => make((done) => generateKeyPair('rsa', { modulusLength: 3072 }, done)),
  'rsa-4096': () => make((done) => generateKeyPair('rsa', { modulusLength: 4096 }, done)),
} as const satisfies Record<KeyKind, () => Promise<KeyPair>>;
