import type { TlsOptions } from 'node:tls';
import type { Directory } from '#gateway/contract/est.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { Log } from '#gateway/ports/log.ts';
import type { Metrics } from '#gateway/ports/metrics.ts';
import type { Randomness } from '#gateway/ports/randomness.ts';

/** DER of the certificate; `givenAgain` when the same key had asked before. */
export type EnrollmentAnswer = { certificate: Buffer; givenAgain: boolean };

/** The first round trip of an attested enrollment, its binary fields decoded; see contract/attestation.ts. */
export type TpmChallengeOrder = {
  attemptId: string;
  address: string;
  credentials: { deviceId: string; ticket: string } | { peer: Buffer };
  ekCertificate?: Buffer;
  ekChain: Buffer[];
  ekPublic?: Buffer;
  akPublic: Buffer;
};

export type TpmChallengeMade = {
  challengeId: string;
  credentialBlob: Buffer;
  encryptedSecret: Buffer;
  /** Seconds. */
  expiresIn: number;
};

/** The operations behind this door, bound to their own dependencies. They throw GatewayError and write the audit. */
export type EstDeps = {
  enrollDevice(request: {
    attemptId: string;
    address: string;
    deviceId: string;
    ticket: string;
    csr: Buffer;
    /** Given to this TLS session and not used since. */
    nonce?: Buffer;
  }): Promise<EnrollmentAnswer>;
  /** peer: DER of the certificate whose key the client proved in this TLS session. */
  reenrollDevice(request: {
    attemptId: string;
    address: string;
    peer: Buffer;
    csr: Buffer;
    nonce?: Buffer;
  }): Promise<EnrollmentAnswer>;
  createTpmChallenge(order: TpmChallengeOrder): Promise<TpmChallengeMade>;
  describeAuthority(): { rootCertificate: Buffer; intermediateCertificate: Buffer; trustDomain: string };
  /** Where the MQTT door listens; host is left out when it is the host of this door. */
  mqttAddress(): Directory['mqtt'];
  clock: Clock;
  randomness: Pick<Randomness, 'id' | 'bytes'>;
  log: Log;
  /** Only what this door refuses itself is counted here; the operations count the rest. */
  metrics: Pick<Metrics, 'enrollment'>;
};

export type EstOptions = {
  host: string;
  /** 0 picks a free one. */
  port: number;
  /** Key, certificate chain, `ca` (root and intermediate), versions and ciphers; see gateway/runtime/tls-options.ts. */
  tls: TlsOptions;
  limits?: Partial<EstLimits>;
};

export type EstLimits = {
  /** Enrollments worked on at the same time; more are told 503 at once, so that those inside finish quickly. */
  inFlight: number;
  /** Open sockets in all; further ones are dropped by the kernel's listener. Bounds memory. */
  connections: number;
  /** Open sockets of one address, so that one cannot take all places. */
  connectionsPerAddress: number;
  /** Milliseconds for the TLS handshake; a half-open one is cut then. */
  handshakeTimeout: number;
  /** Milliseconds until all header lines are there. */
  headersTimeout: number;
  /** Milliseconds until the whole request is there. */
  requestTimeout: number;
  /** Milliseconds a connection may stay without a request. */
  keepAliveTimeout: number;
  /** Refusals that one ticket or certificate at one address may collect at once, and milliseconds until one is forgiven. */
  failuresPerIdentity: number;
  identityForgivenAfter: number;
  /**
   * The same for all of one address together whose ticket or certificate is unknown here; those who bring good ones are
   * served all the same (a site behind one NAT address stays usable).
   */
  failuresPerAddress: number;
  addressForgivenAfter: number;
  /** Milliseconds whose many refusals of one address become one line in the log. */
  refusalLogInterval: number;
};

export const DEFAULT_EST_LIMITS: EstLimits = {
  inFlight: 128,
  connections: 4096,
  connectionsPerAddress: 2048,
  handshakeTimeout: 5_000,
  headersTimeout: 10_000,
  requestTimeout: 20_000,
  keepAliveTimeout: 10_000,
  failuresPerIdentity: 30,
  identityForgivenAfter: 3_000,
  failuresPerAddress: 300,
  addressForgivenAfter: 500,
  refusalLogInterval: 10_000,
};
