import { type AgentConfig, formatAddress, type GatewayAddress } from '#device-agent/domain/agent-config.ts';
import { asAgentError } from '#device-agent/domain/agent-error.ts';
import type { Clock } from '#device-agent/ports/clock.ts';
import type { EstClient, GatewayTrust } from '#device-agent/ports/est-client.ts';
import type { Log } from '#device-agent/ports/log.ts';
import { type Identity, tlsIdentityOf } from './identity.ts';

/**
 * Asks the gateway's directory where MQTT is and what time it is. @returns undefined when it does not answer either;
 * `time` is milliseconds UTC by the gateway's clock, `servedUntil` notAfter of the certificate it showed.
 */
export async function locateBroker(
  deps: { est: EstClient; clock: Clock; log: Log },
  facts: { config: AgentConfig; trust: GatewayTrust; identity: Identity },
  signal: AbortSignal,
): Promise<{ mqtt: GatewayAddress; time: number; servedUntil: number } | undefined> {
  const { est, log, clock } = deps;
  const { config, trust, identity } = facts;
  const session = est.openSession({ address: config.est, trust, identity: tlsIdentityOf(identity) });
  try {
    const directory = await session.fetchDirectory(signal);
    const mqtt = { host: directory.mqtt.host ?? config.est.host, port: directory.mqtt.port };
    log.info('the gateway answers over HTTPS', {
      mqtt: formatAddress(mqtt),
      clockAheadMs: clock.now() - directory.time,
    });
    return { mqtt, time: directory.time, servedUntil: directory.servedUntil };
  } catch (error) {
    log.info('the gateway does not answer over HTTPS either', {
      reason: asAgentError(error, 'STATE_BROKEN').message,
    });
    return undefined;
  } finally {
    session.close();
  }
}
