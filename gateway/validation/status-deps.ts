import type { HealthCheck } from '#gateway/contract/operator-api.ts';
import type { CrlRecord } from '#gateway/domain/revocation-record.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { Log } from '#gateway/ports/log.ts';

/** There from the start. */
export type StatusDeps = {
  clock: Clock;
  log: Log;
  /** The Prometheus exposition. */
  metrics: { contentType: string; text(): Promise<string> };
};

/** There once the gateway can serve. */
export type StatusSources = {
  describeAuthority(): { rootCertificate: Buffer; intermediateCertificate: Buffer };
  latestCrl(): Promise<CrlRecord | undefined>;
  checkHealth(): Promise<HealthCheck[]>;
};

export type StatusOptions = {
  host: string;
  /** 0 picks a free one. */
  port: number;
  /** Seconds a cache may keep a CRL: a longer time spares the gateway, and hides fresh revocations as long. */
  maxCrlAge?: number;
};
