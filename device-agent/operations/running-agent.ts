import type { AgentError } from '#device-agent/domain/agent-error.ts';
import type { AgentStatus } from '#device-agent/domain/agent-status.ts';
import type { Clock } from '#device-agent/ports/clock.ts';
import type { CrlFolder } from '#device-agent/ports/crl-folder.ts';
import type { EstClient } from '#device-agent/ports/est-client.ts';
import type { HookRunner } from '#device-agent/ports/hook-runner.ts';
import type { KeyProvider } from '#device-agent/ports/key-provider.ts';
import type { Log } from '#device-agent/ports/log.ts';
import type { ConnectOutcome, MessageListener, MqttConnector } from '#device-agent/ports/mqtt-connector.ts';
import type { Randomness } from '#device-agent/ports/randomness.ts';
import type { StateStore } from '#device-agent/ports/state-store.ts';
import type { Renewed } from './renewal-keeper.ts';

export type AgentDeps = {
  store: StateStore;
  keys: KeyProvider;
  est: EstClient;
  mqtt: MqttConnector;
  clock: Clock;
  randomness: Randomness;
  log: Log;
  hook?: HookRunner;
  /** Left out: no CRL is kept. */
  crl?: CrlFolder;
};

/** For those who run many agents and count: what happened, as it happens. */
export type AgentEvent =
  | { kind: 'connected'; serial: string }
  | { kind: 'disconnected'; detail: string }
  | { kind: 'connect-failed'; outcome: Exclude<ConnectOutcome, { kind: 'connected' }> }
  | { kind: 'renewed'; oldSerial: string; newSerial: string }
  | { kind: 'renewal-failed'; error: AgentError }
  | { kind: 'revoked' };

export type AgentOptions = {
  /** Seconds; 60 unless given. Longer means fewer packets and a later notice of a dead connection. */
  keepaliveSeconds?: number;
  /** Longest random time before a newer CRL is fetched, milliseconds. */
  crlWithinMs?: number;
  onEvent?: (event: AgentEvent) => void;
};

export type RunningAgent = {
  readonly deviceId: string;
  status(): AgentStatus;
  /** @throws AgentError */
  renewNow(): Promise<Renewed>;
  publish(subtopic: string, payload: string | Buffer): Promise<{ topic: string }>;
  listen(filter: string, onMessage: MessageListener): Promise<() => void>;
  /** Leaves the session and makes a new one at once. */
  reconnect(): void;
  /** Clean end: DISCONNECT, nothing of it runs any more. */
  stop(): Promise<void>;
};
