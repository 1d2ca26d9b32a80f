import { type Certificate, parseCertificate } from '#ca/pkix/certificate.ts';
import { formatCsr } from '#ca/pkix/csr.ts';
import { oid, printableString, sequence, setOf } from '#ca/pkix/der.ts';
import { OID } from '#ca/pkix/oids.ts';
import { validatePath } from '#ca/pkix/path.ts';
import { AgentError, asAgentError, inAttempt } from '#device-agent/domain/agent-error.ts';
import { formatAttemptId } from '#device-agent/domain/attempt-id.ts';
import { reconnectDelay, spreadRetryAfter } from '#device-agent/domain/backoff.ts';
import { readSpiffeId } from '#device-agent/domain/spiffe-id.ts';
import type { Clock } from '#device-agent/ports/clock.ts';
import type { EnrollmentAnswer, EnrollmentRequest, EnrollmentSession } from '#device-agent/ports/enrollment-session.ts';
import type { Attester, DeviceKey } from '#device-agent/ports/key-provider.ts';
import type { Randomness } from '#device-agent/ports/randomness.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { SuggestedWindow } from '#gateway/contract/renewal-info.ts';
import { attestEnrollment } from './attest-enrollment.ts';
import { explainRefusal } from './explain-refusal.ts';

export type CertificateWish = {
  /** What the certificate has to say; what is left out is not known before. */
  name: { deviceId?: DeviceId; trustDomain?: string };
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
  /**
   * Milliseconds UTC, undefined when there is no trusted clock. Asked when an answer is judged: one that a person has
   * approved is younger than the request by as long as that took.
   */
  now: () => number | undefined;
  /** Whether CSRs are bound to their connection. Left out: the gateway is asked. */
  binds?: boolean | undefined;
  /** How often it is asked again when it is not reached or busy; 0 when left out. While it says 202: without end. */
  patience?: number;
};

export type ReceivedCertificate = {
  certificate: Certificate;
  /** DER, leaf first, without the anchor. */
  certificates: Buffer[];
  attemptId: string;
  deviceId: DeviceId;
  trustDomain: string;
  /** The gateway wanted the CSR bound to its connection. */
  wasBound: boolean;
  /** When the gateway would like to see it renewed. */
  window?: SuggestedWindow;
};

/** `retryAfterMs`: the pause before it is asked again. */
export type RequestHooks = {
  /** Before each request; the id stays the same while the same thing is asked again. */
  onAttempt?: (attemptId: string) => Promise<void> | void;
  onPending?: (attemptId: string, retryAfterMs: number) => Promise<void> | void;
  onTrouble?: (error: AgentError, retryAfterMs: number) => void;
  signal?: AbortSignal | undefined;
};

type RequestDeps = { clock: Clock; randomness: Randomness };

/**
 * One request for a certificate, over EST or MQTT, up to a certificate that is known to be ours: for our key and our
 * name, with a path to an anchor. While the gateway says 202 it is asked again with the same key, no sooner than it
 * said, whatever happens to the connection meanwhile.
 * @throws AgentError GATEWAY_REFUSED (this request will not be granted), GATEWAY_BUSY, GATEWAY_UNREACHABLE, ANSWER_UNFIT,
 * STOPPED, TPM_UNUSABLE
 */
export async function requestCertificate(
  deps: RequestDeps,
  session: EnrollmentSession,
  wish: CertificateWish,
  hooks: RequestHooks = {},
): Promise<ReceivedCertificate> {
  const { patience = 0 } = wish;
  let { attemptId, binds } = wish;
  let failures = 0;
  let isWaiting = false;
  for (;;) {
    await hooks.onAttempt?.(attemptId);
    try {
      binds ??= await session.wantsBinding(hooks.signal);
      const answer = await ask(session, { ...wish, attemptId, binds }, hooks.signal);
      if (answer.kind === 'issued') return { ...(await accept(session, wish, answer, hooks.signal)), wasBound: binds };
      if (answer.kind === 'pending') {
        failures = 0;
        isWaiting = true;
        await hooks.onPending?.(answer.attemptId, answer.retryAfterMs);
        // RFC 7030 4.2.3: at least as long as Retry-After says, unless the gateway speaks first.
        await waitFor(deps.clock, answer.retryAfterMs, { news: answer.news, signal: hooks.signal });
      } else if (answer.code === BINDING_REQUIRED && !binds) {
        binds = true;
        attemptId = formatAttemptId(deps.randomness.bytes(8));
      } else throw explainRefusal(answer);
    } catch (thrown) {
      const error = inAttempt(asAgentError(thrown, 'STATE_BROKEN'), attemptId);
      const mayChange = error.code === 'GATEWAY_BUSY' || error.code === 'GATEWAY_UNREACHABLE';
      const { retryAfterMs } = error;
      const backoffMs = reconnectDelay(failures, deps.randomness.fraction());
      const isTooLong = Math.max(retryAfterMs ?? 0, backoffMs) > LONGEST_PAUSE_MS;
      if (!mayChange || (!isWaiting && (failures >= patience || isTooLong))) throw error;
      const pauseMs = Math.max(spreadRetryAfter(retryAfterMs, deps.randomness.fraction()), backoffMs);
      failures += 1;
      hooks.onTrouble?.(error, pauseMs);
      await waitFor(deps.clock, pauseMs, { signal: hooks.signal });
    }
    if (hooks.signal?.aborted === true)
      throw new AgentError('STOPPED', isWaiting ? 'stopped while waiting for approval' : 'stopped', { attemptId });
  }
}

/** A longer one is for whoever started this to decide. */
const LONGEST_PAUSE_MS = 60_000;

/** What a gateway says whose policy wants every CSR bound, when it was not asked before or could not tell. */
const BINDING_REQUIRED = 'CSR_BINDING_REQUIRED';

async function waitFor(
  clock: Clock,
  ms: number,
  end: { news?: Promise<void> | undefined; signal: AbortSignal | undefined },
): Promise<void> {
  const over = new AbortController();
  const waiting = clock.wait(ms, end.signal ? AbortSignal.any([end.signal, over.signal]) : over.signal);
  await (end.news ? Promise.race([waiting, end.news]) : waiting);
  over.abort();
}

/** All of a request is made anew each time: a challenge is good once and for minutes, a binding for one connection. */
async function ask(
  session: EnrollmentSession,
  wish: CertificateWish & { binds: boolean },
  signal: AbortSignal | undefined,
): Promise<EnrollmentAnswer> {
  const { key, operation, attemptId, basic } = wish;
  const attributes: Buffer[] = [];
  if (wish.attester) attributes.push(await attestEnrollment(wish.attester, session, wish, signal));
  if (wish.binds) attributes.push(formatBinding(await session.channelBinding(signal)));
  const csr = await formatCsr({
    subject: wish.subject,
    publicKey: key.publicKey,
    ...(wish.subjectAltName ? { subjectAltName: wish.subjectAltName } : {}),
    attributes,
    signatureAlgorithm: key.signatureAlgorithm,
    sign: (message) => key.sign(message),
  });
  return session.enroll({ operation, csr, attemptId, ...(basic ? { basic } : {}) }, signal);
}

/** RFC 7030 3.5: base64 of the binding in challengePassword. */
function formatBinding(binding: Buffer): Buffer {
  return sequence(oid(OID.challengePassword), setOf(printableString(binding.toString('base64'))));
}

async function accept(
  session: EnrollmentSession,
  wish: CertificateWish,
  answer: EnrollmentAnswer & { kind: 'issued' },
  signal: AbortSignal | undefined,
): Promise<Omit<ReceivedCertificate, 'wasBound'>> {
  const { attemptId } = answer;
  const { certificate, deviceId, trustDomain } = findOurs(answer.certificates, wish, attemptId);
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
  const certificates = path.slice(0, -1).map(({ der }) => der);
  const { window } = answer;
  return { certificate, certificates, attemptId, deviceId, trustDomain, ...(window ? { window } : {}) };
}

/** The order of an answer means nothing (RFC 7030 4.2.3, RFC 5272 4.1): ours is the one for our key. */
function findOurs(
  answered: Buffer[],
  { key, name }: CertificateWish,
  attemptId: string,
): { certificate: Certificate; deviceId: DeviceId; trustDomain: string } {
  const certificates = answered.map((der) => parseAnswered(der, attemptId));
  const certificate = certificates.find(({ publicKey }) => publicKey.equals(key.publicKey));
  if (!certificate)
    throw new AgentError('ANSWER_UNFIT', 'the gateway answered with a certificate for another key', { attemptId });
  const certified = certificate.isCa ? undefined : certificate.uris.map(readSpiffeId).find((id) => id !== undefined);
  const isWanted =
    certified !== undefined &&
    (name.deviceId ?? certified.deviceId) === certified.deviceId &&
    (name.trustDomain ?? certified.trustDomain) === certified.trustDomain;
  if (!isWanted) {
    const wanted = `spiffe://${name.trustDomain ?? '*'}/device/${name.deviceId ?? '*'}`;
    throw new AgentError('ANSWER_UNFIT', `the issued certificate is not for ${wanted}`, { attemptId });
  }
  return { certificate, ...certified };
}

function parseAnswered(der: Buffer, attemptId: string): Certificate {
  try {
    return parseCertificate(der);
  } catch (cause) {
    throw new AgentError('ANSWER_UNFIT', 'the gateway answered with an unreadable certificate', { attemptId, cause });
  }
}

function findPath(leaf: Certificate, others: Buffer[], { anchors, now }: CertificateWish): Certificate[] | undefined {
  const at = now();
  try {
    return validatePath(leaf, {
      intermediates: others.map((der) => parseCertificate(der)).filter(({ isCa }) => isCa),
      anchors: anchors.map((der) => parseCertificate(der)),
      extendedKeyUsage: OID.clientAuth,
      // Room for the links between roots: an anchor may be two roots old.
      maxCertificates: 6,
      ...(at === undefined ? {} : { at }),
    });
  } catch {
    return undefined;
  }
}
