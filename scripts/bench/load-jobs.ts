import type { ThreadTime } from './process-facts.ts';

/** What the bench asks of the process that makes the load, and what it answers. Sent over the process channel as JSON. */

export type Target = { host: string; port: number; caFile: string };

/**
 * Devices are named by id; their keys and certificates stay in the load process. `watch`: a process whose main thread's
 * time is told with the result, of the timed part alone.
 */
export type LoadJob =
  /** A key and a CSR for each device. `deviceId` to ticket. */
  | { kind: 'prepare'; tickets: { deviceId: string; ticket: string }[] }
  /** EST simpleenroll, each on a TLS connection of its own. */
  | { kind: 'enroll'; target: Target; deviceIds: string[]; concurrency: number; watch?: number }
  /** TLS 1.3 handshakes and nothing else; with the certificates of these devices, or without. */
  | { kind: 'handshake'; target: Target; deviceIds: string[]; mutual: boolean; concurrency: number }
  /** EST simplereenroll: `each` times with new keys on one kept connection per device, opened before the clock runs. */
  | { kind: 'reenroll'; target: Target; deviceIds: string[]; each: number; concurrency: number; watch?: number }
  /** The same over MQTT, on one session per device. */
  | { kind: 'renew'; target: Target; deviceIds: string[]; each: number; concurrency: number; watch?: number }
  /**
   * `perSecond` for `seconds`, however slow the answers: first enrollments on new connections, or renewals on kept ones
   * (`reenroll`: EST, `renew`: MQTT) with `each` CSRs. Needs as many devices as can be enrolled in that time and some more.
   */
  | {
      kind: 'arrive';
      what: 'enroll' | 'reenroll' | 'renew';
      target: Target;
      deviceIds: string[];
      each: number;
      perSecond: number;
      seconds: number;
      watch: number;
    }
  /** TLS handshake, CONNECT, CONNACK, DISCONNECT: `count` times. */
  | { kind: 'connect'; target: Target; deviceIds: string[]; count: number; concurrency: number }
  /** Sessions that stay, subscribed to their notices, which they acknowledge. */
  | { kind: 'hold'; target: Target; deviceIds: string[]; subscribe: boolean; concurrency: number }
  /** When the held sessions of these devices were closed by the other side; waits until they are. */
  | { kind: 'closed'; deviceIds: string[] }
  /** The status door, over plain HTTP: `request` is a whole HTTP request in base64. */
  | { kind: 'ocsp'; host: string; port: number; request: string; count: number; concurrency: number }
  /** Leaves all held sessions. */
  | { kind: 'release' };

export type LoadRequest = { id: number; job: LoadJob };
export type LoadAnswer = { id: number } & ({ result: LoadResult } | { error: string });

export type LoadResult = {
  count: number;
  failed: number;
  /** What the first failure said. */
  firstFailure: string | null;
  seconds: number;
  /** Milliseconds, one per thing done, in no order. */
  latencies: number[];
  /** Only of `closed`: milliseconds of the monotonic clock all processes of this machine share. */
  closedAt?: Record<string, number>;
  /** Only of `enroll`: milliseconds until the TLS connection was there, part of the latencies. */
  handshakes?: number[];
  /** Where `watch` asked for it; of `arrive`: in the same time as `granted`. */
  watched?: ThreadTime;
  /** Only of `arrive`. */
  arrivals?: Arrivals;
  /** Only of `arrive` with `enroll`: who has a certificate now. */
  enrolled?: string[];
};

export type Arrivals = {
  /** As they came: fewer than planned when the load process was late. */
  offeredPerSecond: number;
  /** Granted in the `seconds` that are left when the first three tenths are over, in which queues fill. */
  granted: number;
  seconds: number;
  /** Told 503 in the same time. */
  refusedMeanwhile: number;
  /** Milliseconds until 503 with Retry-After, since it was due to come, and since its request was sent. */
  refused: number[];
  refusedSinceSent: number[];
  /** Closed without an answer. */
  lost: number;
};
