import type { CsrAnswer } from '#gateway/contract/csr-messages.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import { type BoundSession, verifyChannelBinding } from '#gateway/domain/channel-binding.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import type { EnrollmentCredentials } from './authorize-enrollment.ts';
import {
  type ChallengeDeps,
  type ChallengeMade,
  type ChallengeOrder,
  createTpmChallenge,
} from './create-tpm-challenge.ts';
import { tellRefusal } from './csr-refusals.ts';
import { type EnrollDeps, type Enrolled, enrollDevice } from './enroll-device.ts';
import { type DoorRefusalDeps, recordDoorRefusal } from './record-door-refusal.ts';
import { reenrollDevice } from './reenroll-device.ts';

export type AnswerDeps = EnrollDeps &
  ChallengeDeps &
  DoorRefusalDeps & {
    /** DER: what leads from this certificate to every root we ask devices to trust. */
    caCertificatesFor: (certificate: Buffer) => Buffer[];
  };

export type CsrSender = {
  /** `device`: renews the certificate it is connected with, also one that has expired. The others enroll for the first time. */
  kind: 'device' | 'enrollment';
  deviceId: DeviceId;
  address: string;
  /** The certificate whose key the TLS session proved, DER, and what else the client sent of its chain. */
  peer: Buffer;
  chain: Buffer[];
  /** The session that a challengePassword has to be made for. */
  tls: BoundSession;
};

export type CsrRequest = {
  requestId: string;
  /** The group asked for. */
  label?: string;
} & (
  | { kind: 'csr'; csr: Buffer }
  | { kind: 'challenge'; shown: Pick<ChallengeOrder, 'ekCertificate' | 'ekChain' | 'ekPublic' | 'akPublic'> }
);

/** The form of attempt ids: a device may name its attempt, so that its own output and our log agree. */
const ATTEMPT_ID = /^a-[0-9a-f]{16}$/;

/**
 * Enrollment and renewal over MQTT: the same operations as over EST, and every outcome an answer. The same key asked
 * again gets the same certificate, also after a restart between the commit and the answer.
 * Never rejects: what goes wrong is told in the answer, and in the log by the operation that refused.
 */
export async function answerCsrMessage(deps: AnswerDeps, sender: CsrSender, request: CsrRequest): Promise<CsrAnswer> {
  const { requestId, label } = request;
  const asked = label === undefined ? {} : { label };
  const attemptId = attemptIdOf(deps, requestId);
  try {
    if (request.kind === 'challenge') {
      const made = await createTpmChallenge(deps, {
        attemptId,
        address: sender.address,
        door: 'mqtt',
        credentials: credentialsOf(sender),
        ...asked,
        ...request.shown,
      });
      return challenged(requestId, attemptId, made);
    }
    const enrolled = await issue(deps, sender, { attemptId, csr: request.csr, ...asked });
    return issued(deps, requestId, attemptId, enrolled);
  } catch (error) {
    return refused(requestId, attemptId, error);
  }
}

async function issue(
  deps: AnswerDeps,
  sender: CsrSender,
  { attemptId, ...asked }: { attemptId: string; csr: Buffer; label?: string },
): Promise<Enrolled> {
  const { kind, address, peer, tls } = sender;
  const verifyBinding = (challengePassword: string) => verifyChannelBinding(challengePassword, tls);
  const request = { attemptId, address, door: 'mqtt', verifyBinding, ...asked } as const;
  return kind === 'device'
    ? reenrollDevice(deps, { ...request, peer })
    : enrollDevice(deps, { ...request, credentials: credentialsOf(sender) });
}

function credentialsOf({ peer, chain, deviceId }: CsrSender): EnrollmentCredentials {
  return { by: 'certificate', peer, chain, deviceId };
}

function issued(
  deps: AnswerDeps,
  requestId: string,
  attemptId: string,
  { certificate, givenAgain, window }: Enrolled,
): CsrAnswer {
  return {
    version: 1,
    requestId,
    status: 200,
    code: givenAgain ? 'GIVEN_AGAIN' : 'ISSUED',
    detail: givenAgain ? 'The certificate that was issued for this key before.' : 'A certificate was issued.',
    attemptId,
    transient: false,
    certificate: certificate.toString('base64'),
    chain: deps.caCertificatesFor(certificate).map((der) => der.toString('base64')),
    ...(window === undefined ? {} : { suggestedWindow: window }),
  };
}

function challenged(requestId: string, attemptId: string, made: ChallengeMade): CsrAnswer {
  return {
    version: 1,
    requestId,
    status: 200,
    code: 'CHALLENGED',
    detail: 'Open the credential and certify the key with its secret.',
    attemptId,
    transient: false,
    tpmChallenge: {
      version: 1,
      challengeId: made.challengeId,
      credentialBlob: made.credentialBlob.toString('base64'),
      encryptedSecret: made.encryptedSecret.toString('base64'),
      expiresIn: made.expiresIn,
    },
  };
}

/**
 * What the door refuses itself: a message that cannot be read, or one too many. An attempt like any other, and answered
 * as one.
 */
export function refuseCsrMessage(
  deps: AnswerDeps,
  { kind, deviceId, address }: Pick<CsrSender, 'kind' | 'deviceId' | 'address'>,
  requestId: string,
  reason: unknown,
): CsrAnswer {
  const attemptId = attemptIdOf(deps, requestId);
  const error = reason instanceof GatewayError ? reason : new GatewayError('INTERNAL', 'unexpected', { cause: reason });
  const asked = {
    attemptId,
    kind: kind === 'device' ? 'reenroll' : 'enroll',
    door: 'mqtt',
    deviceId,
    address,
  } as const;
  const isKept = recordDoorRefusal(deps, { ...asked, error, milliseconds: 0 });
  deps.log[isKept ? 'warn' : 'debug']('enrollment refused', { ...asked, code: error.code, detail: error.message });
  return refused(requestId, attemptId, error);
}

function attemptIdOf({ random }: Pick<AnswerDeps, 'random'>, requestId: string): string {
  return ATTEMPT_ID.test(requestId) ? requestId : random.id('a');
}

function refused(requestId: string, attemptId: string, error: unknown): CsrAnswer {
  return { version: 1, requestId, attemptId, ...tellRefusal(error) };
}
