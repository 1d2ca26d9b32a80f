import type { AgentConfig } from '#device-agent/domain/agent-config.ts';
import { AgentError } from '#device-agent/domain/agent-error.ts';
import { reconnectDelay } from '#device-agent/domain/backoff.ts';
import { CONNACK_UNAVAILABLE } from '#device-agent/domain/connack.ts';
import type { Clock } from '#device-agent/ports/clock.ts';
import type { GatewayTrust } from '#device-agent/ports/est-client.ts';
import type { ConnectOutcome, MqttConnector } from '#device-agent/ports/mqtt-connector.ts';
import type { Randomness } from '#device-agent/ports/randomness.ts';
import { formatWill } from './agent-report.ts';
import { type Identity, tlsIdentityOf } from './identity.ts';

export type ConfirmDeps = { mqtt: MqttConnector; clock: Clock; randomness: Randomness };

export const KEEPALIVE_SECONDS = 60;

const ATTEMPTS = 3;

/**
 * Shows the certificate to the broker once, so that the gateway knows it arrived and the ticket is burnt.
 * @throws AgentError GATEWAY_REFUSED, GATEWAY_BUSY, GATEWAY_UNREACHABLE, GATEWAY_UNTRUSTED
 */
export async function confirmSession(
  deps: ConfirmDeps,
  facts: { config: AgentConfig; trust: GatewayTrust; identity: Identity },
  signal?: AbortSignal,
): Promise<void> {
  const { config, identity } = facts;
  for (let attempt = 1; ; attempt += 1) {
    const outcome = await deps.mqtt.connect(
      {
        address: config.mqtt,
        trust: facts.trust,
        identity: tlsIdentityOf(identity),
        clientId: config.deviceId,
        keepaliveSeconds: KEEPALIVE_SECONDS,
        will: formatWill(config.deviceId, identity, deps.clock.now()),
      },
      signal,
    );
    if (outcome.kind === 'connected') return outcome.session.close();
    const mayChange =
      outcome.kind === 'closed' ||
      outcome.kind === 'unreachable' ||
      (outcome.kind === 'refused' && outcome.code === CONNACK_UNAVAILABLE);
    if (!mayChange || attempt === ATTEMPTS || signal?.aborted === true) throw explainOutcome(outcome);
    await deps.clock.wait(reconnectDelay(attempt - 1, deps.randomness.fraction()), signal);
  }
}

export function explainOutcome(outcome: Exclude<ConnectOutcome, { kind: 'connected' }>): AgentError {
  switch (outcome.kind) {
    case 'refused':
      if (outcome.code === CONNACK_UNAVAILABLE) {
        return new AgentError('GATEWAY_BUSY', 'the broker cannot take this device now (CONNACK 3)', {
          advice: 'nothing to do here: it is tried again',
        });
      }
      return new AgentError('GATEWAY_REFUSED', `the broker refuses this certificate (CONNACK ${outcome.code})`, {
        advice: 'ask the operator of the gateway: `gatehouse device show` tells why',
      });
    case 'closed':
      return new AgentError('GATEWAY_REFUSED', `the broker closed the connection before an answer: ${outcome.detail}`, {
        advice:
          'the certificate may be refused in TLS: compare the clocks, then ask the operator for the reason in the log',
      });
    case 'unreachable':
      return new AgentError('GATEWAY_UNREACHABLE', `the broker cannot be reached: ${outcome.detail}`, {
        advice: 'check that the MQTT port of the gateway is open from here',
      });
    case 'untrusted':
      return new AgentError('GATEWAY_UNTRUSTED', outcome.detail, {
        advice: 'whoever answers at the MQTT address is not our gateway, or the clock of this device is wrong',
      });
    case 'key-unusable':
      return new AgentError(
        'TPM_UNUSABLE',
        outcome.detail,
        outcome.advice === undefined ? {} : { advice: outcome.advice },
      );
  }
}
