import { type Certificate, parseCertificate } from '#ca/pkix/certificate.ts';
import { formatPem } from '#ca/pkix/pem.ts';
import { AgentError } from '#device-agent/domain/agent-error.ts';
import { type GenerationMeta, parseGenerationMeta } from '#device-agent/domain/generation-meta.ts';
import type { TlsIdentity } from '#device-agent/ports/est-client.ts';
import type { DeviceKey, KeyProvider } from '#device-agent/ports/key-provider.ts';
import type { StateStore } from '#device-agent/ports/state-store.ts';

/** A complete generation: a key and the certificate for it. */
export type Identity = {
  generation: number;
  key: DeviceKey;
  certificate: Certificate;
  /** DER, leaf first, then its issuers without the anchor. */
  certificates: Buffer[];
  meta: GenerationMeta;
};

/** A key whose certificate has been asked for and not arrived. */
export type PendingRequest = { generation: number; key: DeviceKey; meta: GenerationMeta };

/**
 * @returns the identity or the pending request of a generation; undefined when it holds no key.
 * @throws AgentError STATE_BROKEN when key and certificate are unusable or do not belong together.
 */
export async function loadGeneration(
  deps: { store: StateStore; keys: KeyProvider },
  number: number,
): Promise<{ identity: Identity } | { pending: PendingRequest } | undefined> {
  const stored = await deps.store.readGeneration(number);
  if (!stored) return undefined;
  const meta = parseGenerationMeta(stored.meta);
  try {
    const key = deps.keys.load(stored.key);
    const [leaf] = stored.certificates;
    if (!leaf) return { pending: { generation: number, key, meta } };
    const certificate = parseCertificate(leaf);
    if (!certificate.publicKey.equals(key.publicKey)) throw new Error('the certificate is for another key');
    return { identity: { generation: number, key, certificate, certificates: stored.certificates, meta } };
  } catch (cause) {
    if (cause instanceof AgentError) throw cause;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new AgentError('STATE_BROKEN', `generation ${number} cannot be used: ${why}`, {
      cause,
      advice: 'restore the state folder from a copy, or enroll again with --replace and a new ticket',
    });
  }
}

export function tlsIdentityOf({ key, certificates }: Pick<Identity, 'key' | 'certificates'>): TlsIdentity {
  return { key: key.pem, certificates: certificates.map((der) => formatPem('CERTIFICATE', der)).join('') };
}
