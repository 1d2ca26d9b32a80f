import type { Server } from 'node:http';
import type { AuthorityDescription } from '#ca/ports/certificate-authority.ts';
import type { HealthCheck } from '#gateway/contract/operator-api.ts';
import type { PublishedList } from '#gateway/domain/status-change.ts';
import type { OcspReply } from '#gateway/operations/answer-ocsp.ts';
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
  describeAuthority(): Pick<AuthorityDescription, 'rootCertificate' | 'intermediateCertificate' | 'issuers'>;
  /** A list in force. @param scopeName `full`, `delta`, `shard-<count>-<index>` @param issuerKeyId left out: the first issuer */
  findList(scopeName: string, issuerKeyId?: string): PublishedList | undefined;
  /** The lists of revoked intermediates, one for each root that has one, that of the issuing CA first. */
  readRootCrls(): Promise<RootCrl[]>;
  /** @param request DER, and whatever else strangers send */
  answerOcsp(request: Buffer): Promise<OcspReply>;
  checkHealth(): Promise<HealthCheck[]>;
  /** The AsyncAPI document of the MQTT door. */
  mqttContract: Readonly<Record<string, unknown>>;
};

/** `keyId`: subject key id of the root, lower-case hexadecimal. Times in milliseconds UTC. */
export type RootCrl = { keyId: string; der: Buffer; number: number; thisUpdate: number; nextUpdate: number };

export type StatusOptions = {
  host: string;
  /** 0 picks a free one. */
  port: number;
  /** Has the requests of a connection handled one at a time; see gateway/runtime/one-at-a-time.ts. */
  keepOrder: (server: Server) => void;
  /** Seconds a cache may keep a CRL or an OCSP answer: longer spares the gateway, and hides fresh revocations as long. */
  maxCrlAge?: number;
};

export const DEFAULT_MAX_STATUS_AGE = 300;
