import type { Broker } from '#gateway/ports/broker.ts';

/**
 * The operations need the broker and the broker's door needs the operations: this stands in until the door is open.
 * Before that there are no sessions, so it answers like a broker nobody is connected to.
 */
export class LateBroker implements Broker {
  #broker: Broker | undefined;
  #fleet = new Map<string, string>();

  attach(broker: Broker): void {
    this.#broker = broker;
    for (const [topic, token] of this.#fleet) broker.publishFleet(topic, token);
    this.#fleet.clear();
  }

  sessions: Broker['sessions'] = () => this.#broker?.sessions() ?? [];
  sessionsOf: Broker['sessionsOf'] = (deviceId) => this.#broker?.sessionsOf(deviceId) ?? [];
  markRevoked: Broker['markRevoked'] = (serials) => this.#broker?.markRevoked(serials) ?? [];
  setQuarantined: Broker['setQuarantined'] = (deviceId, is) => this.#broker?.setQuarantined(deviceId, is) ?? [];
  sendNotice: Broker['sendNotice'] = (deviceId, token) => this.#broker?.sendNotice(deviceId, token) ?? false;
  answerWaiting: Broker['answerWaiting'] = (deviceId) => this.#broker?.answerWaiting(deviceId);
  close: Broker['close'] = async (sessions, reason) => this.#broker?.close(sessions, reason) ?? 0;

  publishFleet(topic: string, token: string): void {
    if (this.#broker === undefined) this.#fleet.set(topic, token);
    else this.#broker.publishFleet(topic, token);
  }
}
