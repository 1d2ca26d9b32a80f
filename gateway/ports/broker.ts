import type { SerialNumber } from '#ca/pkix/serial-number.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';

export type LiveSession = { id: number; deviceId: DeviceId; serial: SerialNumber; address: string; since: number };

/** The broker as the rest of the gateway sees it: embedded today, an external one behind the same members later. */
export interface Broker {
  sessions(): LiveSession[];
  sessionsOf(deviceId: DeviceId): LiveSession[];
  /**
   * From now on these sessions may only acknowledge notices: everything else in and out stops and the will is dropped.
   * The session of a claim is found by its serial too, here and nowhere else: it is not a session of its device.
   * @returns the live sessions that were marked.
   */
  markRevoked(serials: readonly SerialNumber[]): LiveSession[];
  /**
   * From now on the sessions of this device are limited to what an identity needs, or no longer.
   * @returns the live sessions that it changed.
   */
  setQuarantined(deviceId: DeviceId, isQuarantined: boolean): LiveSession[];
  /** Hands a signed notice to the device's session. @returns false when it has none that listens. */
  sendNotice(deviceId: DeviceId, token: string): boolean;
  /**
   * An enrollment that waited was decided: sessions of this device, or of those who enroll it, that were told to wait
   * get their answer now. After the commit.
   */
  answerWaiting(deviceId: DeviceId): void;
  /** Resolves when every one of these sockets is closed. @returns how many this call closed. */
  close(sessions: readonly LiveSession[], reason: string): Promise<number>;
  /** Retained and sent to every session that subscribed. */
  publishFleet(topic: string, token: string): void;
}
