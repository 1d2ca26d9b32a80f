import type { AgentConfig } from '#device-agent/domain/agent-config.ts';
import type { GatewayTrust } from '#device-agent/ports/est-client.ts';
import type { ConnectOutcome, MqttSession } from '#device-agent/ports/mqtt-connector.ts';
import type { Identity } from './identity.ts';

/** What the keeper needs to know, and whom it tells. */
export type SessionKeeperHooks = {
  /** Read at every attempt: the address and the clock may have changed. */
  target(): { config: AgentConfig; trust: GatewayTrust };
  hasExpired(identity: Identity): boolean;
  /** The broker refuses the current identity: the one before it, when that could still be let in. */
  findPrevious(current: Identity): Promise<Identity | undefined>;
  /** A session is there (CONNACK 0). What it throws ends the session. */
  onSession(session: MqttSession, identity: Identity): Promise<void>;
  onSessionEnded(detail: string): void;
  onFailure(
    outcome: Exclude<ConnectOutcome, { kind: 'connected' }>,
    identity: Identity,
    failures: number,
  ): Promise<void>;
  /** The candidate has had its CONNACK 0: make it the identity, durably. */
  commit(candidate: Identity): Promise<void>;
  /** The identity before has had its CONNACK 0 while the current one is refused: make it the identity again, durably. */
  fallBack(previous: Identity, refused: Identity): Promise<void>;
};
