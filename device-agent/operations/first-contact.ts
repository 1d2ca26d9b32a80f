import { hash } from 'node:crypto';
import { type Certificate, parseCertificate } from '#ca/pkix/certificate.ts';
import { validatePath } from '#ca/pkix/path.ts';
import { AgentError } from '#device-agent/domain/agent-error.ts';

export type VerifiedCaCertificates = { root: Buffer; intermediates: Buffer[] };

/**
 * What can be believed of a `/cacerts` answer, given the fingerprint that came another way (RFC 7030 4.1.1, 4.1.3): the
 * certificate with exactly this SHA-256, and those with a path to it. That others are self-signed and present gives
 * them nothing.
 * @param at milliseconds UTC, undefined when there is no trusted clock.
 * @throws AgentError GATEWAY_UNTRUSTED
 */
export function verifyCaCertificates(
  certificates: Buffer[],
  rootSha256: string,
  at: number | undefined,
): VerifiedCaCertificates {
  const root = certificates.find((der) => hash('sha256', der, 'hex') === rootSha256);
  if (!root) {
    throw new AgentError('GATEWAY_UNTRUSTED', 'the gateway does not have the root certificate of this fingerprint', {
      advice:
        'the address leads to another gateway, or somebody stands in between; ask for a new join URL or fingerprint',
    });
  }
  return { root, intermediates: certificates.filter((der) => der !== root && hasPath(der, certificates, root, at)) };
}

function hasPath(der: Buffer, others: Buffer[], root: Buffer, at: number | undefined): boolean {
  try {
    const certificate = parseCertificate(der);
    if (!certificate.isCa) return false;
    validatePath(certificate, {
      intermediates: others.flatMap(parseIfPossible),
      anchors: [parseCertificate(root)],
      ...(at === undefined ? {} : { at }),
    });
    return true;
  } catch {
    return false;
  }
}

function parseIfPossible(der: Buffer): Certificate[] {
  try {
    return [parseCertificate(der)];
  } catch {
    return [];
  }
}
