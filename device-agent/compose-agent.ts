import { createEstClient } from './est/est-client.ts';
import { softwareKeys } from './keys/software-keys.ts';
import { createMqttConnector } from './mqtt/mqtt-connector.ts';
import type { AgentDeps } from './operations/running-agent.ts';
import type { HookRunner } from './ports/hook-runner.ts';
import type { Log } from './ports/log.ts';
import type { StateStore } from './ports/state-store.ts';
import { systemClock } from './runtime/system-clock.ts';
import { systemRandomness } from './runtime/system-randomness.ts';
import { dialTls } from './runtime/tls-dialer.ts';

/**
 * The real parts behind every port. No globals and no signals: as many agents as wanted may live in one process, each
 * with a store of its own.
 */
export function composeAgent(own: { store: StateStore; log: Log; hook?: HookRunner }): AgentDeps {
  return {
    keys: softwareKeys,
    est: createEstClient(dialTls),
    mqtt: createMqttConnector(dialTls),
    clock: systemClock,
    randomness: systemRandomness,
    ...own,
  };
}
