import { createEstClient } from './est/est-client.ts';
import { softwareKeys } from './keys/software-keys.ts';
import { createMqttConnector } from './mqtt/mqtt-connector.ts';
import type { AgentDeps } from './operations/running-agent.ts';
import type { CrlFolder } from './ports/crl-folder.ts';
import type { HookRunner } from './ports/hook-runner.ts';
import type { KeyProvider } from './ports/key-provider.ts';
import type { Log } from './ports/log.ts';
import type { StateStore } from './ports/state-store.ts';
import type { IdentityContexts } from './runtime/identity-contexts.ts';
import { systemClock } from './runtime/system-clock.ts';
import { systemRandomness } from './runtime/system-randomness.ts';
import { createTlsDialer } from './runtime/tls-dialer.ts';

/**
 * Where the keys live, and how TLS gets at them when that is not simply a PEM. `store`: takes the place of the agent's
 * own, where keys are also kept elsewhere.
 */
export type KeyAccess = { keys: KeyProvider; contexts?: IdentityContexts; store?: StateStore };

/**
 * The real parts behind every port. No globals and no signals: as many agents as wanted may live in one process, each
 * with a store of its own.
 */
export function composeAgent(own: {
  store: StateStore;
  log: Log;
  hook?: HookRunner;
  crl?: CrlFolder;
  access?: KeyAccess;
}): AgentDeps {
  const { access, ...deps } = own;
  const dial = createTlsDialer(access?.contexts);
  return {
    keys: access?.keys ?? softwareKeys,
    est: createEstClient(dial),
    mqtt: createMqttConnector(dial),
    clock: systemClock,
    randomness: systemRandomness,
    ...deps,
    ...(access?.store ? { store: access.store } : {}),
  };
}
