import type { SerialNumber } from '#ca/pkix/serial-number.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { Broker, LiveSession } from '#gateway/ports/broker.ts';

/** A broker without a network: sessions are put in by the test, everything sent is kept. */
export class FakeBroker implements Broker {
  readonly sent: { deviceId: DeviceId; token: string }[] = [];
  readonly fleet: { topic: string; token: string }[] = [];
  readonly closed: { session: LiveSession; reason: string }[] = [];
  readonly marked: SerialNumber[] = [];
  /** Devices whose waiting enrollment was decided. */
  readonly decided: DeviceId[] = [];
  readonly quarantined = new Set<DeviceId>();
  /** Called for every notice handed over, like a device that listens. */
  onNotice: (deviceId: DeviceId, token: string) => void = () => undefined;
  #sessions: LiveSession[] = [];

  connect(session: LiveSession): void {
    this.#sessions.push(session);
  }

  sessions(): LiveSession[] {
    return [...this.#sessions];
  }

  sessionsOf(deviceId: DeviceId): LiveSession[] {
    return this.#sessions.filter((session) => session.deviceId === deviceId);
  }

  markRevoked(serials: readonly SerialNumber[]): LiveSession[] {
    this.marked.push(...serials);
    return this.#sessions.filter((session) => serials.includes(session.serial));
  }

  setQuarantined(deviceId: DeviceId, isQuarantined: boolean): LiveSession[] {
    if (this.quarantined.has(deviceId) === isQuarantined) return [];
    if (isQuarantined) this.quarantined.add(deviceId);
    else this.quarantined.delete(deviceId);
    return this.sessionsOf(deviceId);
  }

  sendNotice(deviceId: DeviceId, token: string): boolean {
    if (this.sessionsOf(deviceId).length === 0) return false;
    this.sent.push({ deviceId, token });
    this.onNotice(deviceId, token);
    return true;
  }

  answerWaiting(deviceId: DeviceId): void {
    this.decided.push(deviceId);
  }

  async close(sessions: readonly LiveSession[], reason: string): Promise<number> {
    const closing = this.#sessions.filter((session) => sessions.some(({ id }) => id === session.id));
    this.#sessions = this.#sessions.filter((session) => !closing.includes(session));
    this.closed.push(...closing.map((session) => ({ session, reason })));
    return closing.length;
  }

  publishFleet(topic: string, token: string): void {
    this.fleet.push({ topic, token });
  }
}
