import type { ProofLevel } from '#gateway/contract/operator-api.ts';
import type { GatewayAddress, RenewVia } from './agent-config.ts';
import type { RuntimeFacts } from './runtime-facts.ts';

export type AgentHealthState = 'not-enrolled' | 'enrolled' | 'expired' | 'revoked' | 'refused' | 'quarantined';

/** The two ways to a key in the TPM: OpenSSL's provider for TPMs, or its engine for PKCS#11 with tpm2-pkcs11. */
export type TlsKeyAccess = 'provider' | 'pkcs11';

/** What `status --json` prints. Others' scripts rely on these names; fields may be added. Times are milliseconds UTC. */
export type AgentStatus = {
  deviceId: string | null;
  /** `revoked`, `quarantined`: told by a signed notice. `refused`: the broker says no and the reason was not told. */
  state: AgentHealthState;
  /** Whether a running agent has a session now. */
  connected: boolean;
  certificate: { serial: string; notAfter: number } | null;
  nextRenewalAt: number | null;
  keyProvider: string;
  /** As the certificate of the device says: what the gateway has verified about its key. */
  proofLevel: ProofLevel;
  /** How TLS reaches a key in the TPM. null: the key is a file, or nothing is installed that can reach it. */
  tlsKeyAccess: TlsKeyAccess | null;
  gateway: { est: GatewayAddress; mqtt: GatewayAddress } | null;
  agentVersion: string;
  running: boolean;
  lastConnectedAt: number | null;
  lastError: RuntimeFacts['lastError'] | null;
  lastAttempt: RuntimeFacts['lastAttempt'] | null;
  hook: RuntimeFacts['hook'] | null;
  /** How it renews. null: not enrolled. */
  renewVia: RenewVia | null;
  /** A first enrollment that waits for a person, and the fingerprint of its key as the gateway shows it. */
  waiting: { attemptId: string; keyFingerprint: string; since: number; via: 'est' | 'mqtt' } | null;
  /** The CRL for local services, in the state folder; null: none was fetched yet. */
  crl: {
    file: string;
    revokedFile: string;
    number: number | null;
    nextUpdate: number | null;
    /** Past its nextUpdate: it may not be relied on (RFC 5280 6.3.3). */
    stale: boolean;
    /** Why the last try to fetch a newer one failed. */
    error: { message: string; at: number } | null;
  } | null;
  /** What to do next, when something is to be done. */
  advice: string | null;
};

/** The worst thing that is true of this certificate. */
export function healthOf(
  certificate: { serial: string; notAfter: number } | null,
  facts: RuntimeFacts,
  now: number,
): AgentHealthState {
  if (certificate === null) return 'not-enrolled';
  if (facts.revoked?.serial === certificate.serial) return 'revoked';
  if (now > certificate.notAfter) return 'expired';
  if (facts.refused?.serial === certificate.serial) return 'refused';
  if (facts.quarantined?.serial === certificate.serial) return 'quarantined';
  return 'enrolled';
}

export function adviceFor(state: AgentHealthState, facts: RuntimeFacts): string | null {
  if (state !== 'revoked' && facts.renewal?.askAgainAt !== undefined)
    return 'compare the fingerprint with `gatehouse enrollment list` and have it approved; `run` goes on asking';
  switch (state) {
    case 'not-enrolled':
      if (facts.enrollment?.askAgainAt !== undefined)
        return 'compare the fingerprint with `gatehouse enrollment list`, have it approved, and run the same enroll command again';
      return 'get a join URL (`gatehouse device add ID` on the gateway) and run `gatehouse-agent enroll JOIN-URL`';
    case 'expired':
      if (facts.lastAttempt?.outcome === 'refused')
        return (
          'the certificate has expired and the gateway refused to give the next one (see the last error): ask its operator, ' +
          '`gatehouse device show` tells why; `run` goes on asking, slower each time. To begin anew, get a new ticket or ' +
          'claim for this device and run `gatehouse-agent enroll --replace`'
        );
      return 'the certificate has expired: `run` asks for the next one for as long as the gateway allows; else get a new ticket for this device and run `gatehouse-agent enroll --replace JOIN-URL`';
    case 'revoked':
      return facts.revoked?.advice || 'ask the owner of the fleet why this device was revoked';
    case 'refused':
      return 'ask the operator of the gateway: `gatehouse device show` tells why this device is refused';
    case 'quarantined':
      return 'the gateway suspects that this identity was copied and drops its telemetry: an operator decides (`gatehouse alarm list`)';
    case 'enrolled':
      return facts.lastError?.advice ?? null;
  }
}
