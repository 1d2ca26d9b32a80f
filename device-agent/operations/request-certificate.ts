import { type Certificate, parseCertificate } from '#ca/pkix/certificate.ts';
import { formatCsr } from '#ca/pkix/csr.ts';
import { OID } from '#ca/pkix/oids.ts';
import { validatePath } from '#ca/pkix/path.ts';
import type { AgentConfig } from '#device-agent/domain/agent-config.ts';
import { AgentError } from '#device-agent/domain/agent-error.ts';
import type { Clock } from '#device-agent/ports/clock.ts';
import type { EnrollmentAnswer, EnrollmentRequest, EstSession } from '#device-agent/ports/est-client.ts';
import type { Attester, DeviceKey } from '#device-agent/ports/key-provider.ts';
import { attestEnrollment } from './attest-enrollment.ts';
import { explainRefusal } from './explain-refusal.ts';

export type CertificateWish = {
  config: Pick<AgentConfig, 'deviceId' | 'trustDomain'>;
  operation: EnrollmentRequest['operation'];
  attemptId: string;
  key: DeviceKey;
  /** Name, DER. */
  subject: Buffer;
  /** At a renewal: the value of the current certificate's extension, DER. */
  subjectAltName?: Buffer;
  basic?: EnrollmentRequest['basic'];
  /** Proves where the key lives; a request for a key of a provider that can prove it never goes without. */
  attester?: Attester | undefined;
  /** DER. */
  anchors: Buffer[];
  /** Issuers known already, DER; more are fetched when these do not do. */
  intermediates: Buffer[];
  /** Milliseconds UTC, undefined when there is no trusted clock. */
  at: number | undefined;
};

export type ReceivedCertificate = {
  certificate: Certificate;
  /** DER, leaf first, without the anchor. */
  certificates: Buffer[];
  attemptId: string;
};

/**
 * One request for a certificate over EST, up to a certificate that is known to be ours: for our key and our name, with
 * a path to an anchor. While the gateway says 202 it is asked again with the same key, no sooner than it said.
 * @throws AgentError GATEWAY_REFUSED (this request will not be granted), GATEWAY_BUSY, GATEWAY_UNREACHABLE, ANSWER_UNFIT,
 * STOPPED, TPM_UNUSABLE
 */
export async function requestCertificate(
  deps: { clock: Clock },
  session: EstSession,
  wish: CertificateWish,
  hooks: { onPending?: (attemptId: string, retryAfterMs: number) => void; signal?: AbortSignal | undefined } = {},
): Promise<ReceivedCertificate> {
  const { key, operation, attemptId, basic } = wish;
  for (;;) {
    // Anew each time: a challenge is good once, and for minutes.
    const evidence = wish.attester && (await attestEnrollment(wish.attester, session, wish, hooks.signal));
    const csr = await formatCsr({
      subject: wish.subject,
      publicKey: key.publicKey,
      ...(wish.subjectAltName ? { subjectAltName: wish.subjectAltName } : {}),
      ...(evidence ? { attributes: [evidence] } : {}),
      signatureAlgorithm: key.signatureAlgorithm,
      sign: (message) => key.sign(message),
    });
    const answer = await session.enroll({ operation, csr, attemptId, ...(basic ? { basic } : {}) }, hooks.signal);
    switch (answer.kind) {
      case 'issued':
        return accept(session, wish, answer, hooks.signal);
      case 'refused':
        throw explainRefusal(answer);
      case 'pending':
        hooks.onPending?.(answer.attemptId, answer.retryAfterMs);
        // RFC 7030 4.2.3: at least as long as Retry-After says.
        await deps.clock.wait(answer.retryAfterMs, hooks.signal);
        if (hooks.signal?.aborted === true) {
          throw new AgentError('STOPPED', 'stopped while waiting for approval', { attemptId: answer.attemptId });
        }
    }
  }
}

async function accept(
  session: EstSession,
  wish: CertificateWish,
  answer: EnrollmentAnswer & { kind: 'issued' },
  signal: AbortSignal | undefined,
): Promise<ReceivedCertificate> {
  const { attemptId } = answer;
  const certificate = findOurs(answer.certificates, wish, attemptId);
  const known = [...answer.certificates, ...wish.intermediates];
  const path =
    findPath(certificate, known, wish) ??
    // The issuing CA may have changed since the last time.
    findPath(certificate, [...known, ...(await session.fetchCaCertificates(signal))], wish);
  if (!path) {
    throw new AgentError('ANSWER_UNFIT', 'the issued certificate has no path to the trusted root', {
      attemptId,
      advice: "compare this device's clock with the gateway's; else give the attempt id to the operator",
    });
  }
  return { certificate, certificates: path.slice(0, -1).map(({ der }) => der), attemptId };
}

/** The order of an answer means nothing (RFC 7030 4.2.3, RFC 5272 4.1): ours is the one for our key. */
function findOurs(answered: Buffer[], { key, config }: CertificateWish, attemptId: string): Certificate {
  const certificates = answered.map((der) => parseAnswered(der, attemptId));
  const ours = certificates.find(({ publicKey }) => publicKey.equals(key.publicKey));
  if (!ours)
    throw new AgentError('ANSWER_UNFIT', 'the gateway answered with a certificate for another key', { attemptId });
  const name = `spiffe://${config.trustDomain}/device/${config.deviceId}`;
  if (ours.isCa || !ours.uris.includes(name)) {
    throw new AgentError('ANSWER_UNFIT', `the issued certificate is not for ${name}`, { attemptId });
  }
  return ours;
}

function parseAnswered(der: Buffer, attemptId: string): Certificate {
  try {
    return parseCertificate(der);
  } catch (cause) {
    throw new AgentError('ANSWER_UNFIT', 'the gateway answered with an unreadable certificate', { attemptId, cause });
  }
}

function findPath(leaf: Certificate, others: Buffer[], { anchors, at }: CertificateWish): Certificate[] | undefined {
  try {
    return validatePath(leaf, {
      intermediates: others.map((der) => parseCertificate(der)).filter(({ isCa }) => isCa),
      anchors: anchors.map((der) => parseCertificate(der)),
      extendedKeyUsage: OID.clientAuth,
      ...(at === undefined ? {} : { at }),
    });
  } catch {
    return undefined;
  }
}
