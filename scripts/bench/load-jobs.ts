/** What the bench asks of the process that makes the load, and what it answers. Sent over the process channel as JSON. */

export type Target = { host: string; port: number; caFile: string };

/** Devices are named by id; their keys and certificates stay in the load process. */
export type LoadJob =
  /** A key and a CSR for each device. `deviceId` to ticket. */
  | { kind: 'prepare'; tickets: { deviceId: string; ticket: string }[] }
  /** EST simpleenroll, each on a TLS connection of its own. */
  | { kind: 'enroll'; target: Target; deviceIds: string[]; concurrency: number }
  /** TLS 1.3 handshakes and nothing else; with the certificates of these devices, or without. */
  | { kind: 'handshake'; target: Target; deviceIds: string[]; mutual: boolean; concurrency: number }
  /** EST simplereenroll: `each` times with new keys on one kept connection per device, opened before the clock runs. */
  | { kind: 'reenroll'; target: Target; deviceIds: string[]; each: number; concurrency: number }
  /** TLS handshake, CONNECT, CONNACK, DISCONNECT: `count` times. */
  | { kind: 'connect'; target: Target; deviceIds: string[]; count: number; concurrency: number }
  /** Sessions that stay, subscribed to their notices, which they acknowledge. */
  | { kind: 'hold'; target: Target; deviceIds: string[]; subscribe: boolean; concurrency: number }
  /** When the held sessions of these devices were closed by the other side; waits until they are. */
  | { kind: 'closed'; deviceIds: string[] }
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
};
