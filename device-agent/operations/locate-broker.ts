import { type AgentConfig, formatAddress, type GatewayAddress } from '#device-agent/domain/agent-config.ts';
import { asAgentError } from '#device-agent/domain/agent-error.ts';
import type { Clock } from '#device-agent/ports/clock.ts';
import { type AskTimeDeps, openDirectory } from './ask-time.ts';
import { type Identity, tlsIdentityOf } from './identity.ts';

/**
 * Asks the gateway's directory where MQTT is, and on the way what time it is. @returns undefined when it does not answer
 * either
 */
export async function locateBroker(
  deps: AskTimeDeps & { clock: Clock },
  facts: { config: AgentConfig; anchors: Buffer[]; identity: Identity },
  signal: AbortSignal,
): Promise<GatewayAddress | undefined> {
  const { log, clock } = deps;
  const { config, anchors, identity } = facts;
  try {
    const target = { address: config.est, anchors, identity: tlsIdentityOf(identity) };
    const { session, directory } = await openDirectory(deps, target, signal);
    session.close();
    const mqtt = { host: directory.mqtt.host ?? config.est.host, port: directory.mqtt.port };
    log.info('the gateway answers over HTTPS', {
      mqtt: formatAddress(mqtt),
      clockAheadMs: clock.now() - directory.time,
    });
    return mqtt;
  } catch (error) {
    log.info('the gateway does not answer over HTTPS either', {
      reason: asAgentError(error, 'STATE_BROKEN').message,
    });
    return undefined;
  }
}
