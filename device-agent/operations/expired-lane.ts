import type { AgentConfig } from '#device-agent/domain/agent-config.ts';
import { asAgentError } from '#device-agent/domain/agent-error.ts';
import type { EnrollmentSession } from '#device-agent/ports/enrollment-session.ts';
import type { Log } from '#device-agent/ports/log.ts';
import { type Identity, tlsIdentityOf } from './identity.ts';
import { MqttEnrollment, type MqttEnrollmentDeps } from './mqtt-enrollment.ts';
import { hasExpired } from './renew-certificate.ts';
import type { TimeKeeper } from './time-keeper.ts';

export type ExpiredLaneDeps = MqttEnrollmentDeps & { log: Log; time: TimeKeeper };

/** Who asks the gateway, by the roots in use. */
export type Asking = { config: AgentConfig; anchors: Buffer[]; identity: Identity };

/** Milliseconds: a broker that refuses a certificate is not asked more often whether it has ended. */
const ASK_AGAIN_MS = 5 * 60_000;

/**
 * What is left of a certificate that has expired, over MQTT: a session in which it may ask for the next one, if the
 * gateway grants that (gateway/README.md, "A renewal after the end").
 */
export class ExpiredLane {
  readonly #deps: ExpiredLaneDeps;
  /** The serial that has ended by the gateway's word. */
  #toldEnded: string | undefined;
  /** Monotonic. */
  #askAgainAt = Number.NEGATIVE_INFINITY;

  constructor(deps: ExpiredLaneDeps) {
    this.#deps = deps;
  }

  /** By the best known time, or because the gateway has said so: the clock of a device without a battery is years late. */
  hasEnded(identity: Identity): boolean {
    return hasExpired(identity, this.#deps.time) || identity.certificate.serial === this.#toldEnded;
  }

  /** @throws AgentError GATEWAY_REFUSED, GATEWAY_UNREACHABLE, GATEWAY_BUSY, GATEWAY_UNTRUSTED, STOPPED */
  async open(asking: Asking, signal: AbortSignal): Promise<EnrollmentSession> {
    const session = this.#sessionOf(asking);
    await session.start(signal);
    return session;
  }

  /**
   * The broker refuses a certificate that is good by the clock of this device. It never says why; but where a certificate
   * gets a session that may only enroll, it has ended. So the time is at least that of its end, by the gateway's clock.
   * @returns whether that has been found out now
   */
  async hasEndedMeanwhile(asking: Asking, signal: AbortSignal): Promise<boolean> {
    const { clock, time, log } = this.#deps;
    const { certificate } = asking.identity;
    if (this.hasEnded(asking.identity) || clock.monotonic() < this.#askAgainAt) return false;
    this.#askAgainAt = clock.monotonic() + ASK_AGAIN_MS;
    try {
      (await this.open(asking, signal)).close();
    } catch (error) {
      log.debug('the certificate opens no session to enroll', { reason: asAgentError(error, 'STATE_BROKEN').message });
      return false;
    }
    const { serial, notAfter } = certificate;
    log.warn('the certificate has expired by the clock of the gateway', { serial, clock: isoTime(clock.now()) });
    this.#toldEnded = serial;
    time.suppose(notAfter);
    return true;
  }

  #sessionOf({ config, anchors, identity }: Asking): MqttEnrollment {
    const { time } = this.#deps;
    const { deviceId } = config;
    return new MqttEnrollment(this.#deps, {
      address: config.mqtt,
      trust: () => time.trust(anchors),
      now: () => time.now(),
      identity: tlsIdentityOf(identity),
      deviceId,
      endsAt: identity.certificate.notAfter,
      advice:
        `the gateway lets this certificate ask for no other: \`gatehouse device show ${deviceId}\` and its log tell why ` +
        '(its group gives no time after the end, or that is over, or an operator has decided so). To begin anew: a new ' +
        `ticket, or over MQTT \`gatehouse ticket claim ${deviceId}\`, and \`gatehouse-agent enroll --replace\``,
    });
  }
}

function isoTime(at: number): string {
  return new Date(at).toISOString();
}
