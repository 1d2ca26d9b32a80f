import type { CertificateAuthority } from '#ca/ports/certificate-authority.ts';
import type { IssuanceOrder } from '#ca/ports/issuance-order.ts';
import { auditEntry } from '#gateway/domain/audit-entry.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { Randomness } from '#gateway/ports/randomness.ts';
import type { Store } from '#gateway/ports/store.ts';
import { activeRecord } from './active-record.ts';

export type OwnCertificateDeps = { store: Store; authority: CertificateAuthority; clock: Clock; random: Randomness };

export type OwnCertificateOrder =
  | { profile: 'gateway-server'; publicKey: Buffer; dnsNames: string[]; ipAddresses: string[] }
  | { profile: 'notice-signer'; publicKey: Buffer }
  | { profile: 'ocsp-responder'; publicKey: Buffer; issuerKeyId: string };

const DAY = 24 * 3600;
/** Seconds; replaced long before, without a restart. A responder's cannot be taken back, and so lives a week. */
const LIFETIMES = { 'gateway-server': 30 * DAY, 'notice-signer': 30 * DAY, 'ocsp-responder': 7 * DAY } as const;

/** A certificate for one of the gateway's own keys, recorded like every other. @returns DER. @throws AuthorityError */
export async function issueOwnCertificate(deps: OwnCertificateDeps, order: OwnCertificateOrder): Promise<Buffer> {
  const serial = deps.random.serialNumber();
  const whole: IssuanceOrder = { ...order, serial, lifetimeSeconds: LIFETIMES[order.profile] };
  const der = await deps.authority.issue(whole);
  const now = deps.clock.now();
  const record = activeRecord(der, whole, { deviceId: null, now });
  await deps.store.write(async (tables) => {
    await tables.certificates.insert(record);
    await tables.audit.append(
      auditEntry({
        at: now,
        actor: 'gateway',
        action: 'certificate.issued',
        subject: order.profile,
        detail: `serial ${serial}`,
      }),
    );
  });
  return der;
}
