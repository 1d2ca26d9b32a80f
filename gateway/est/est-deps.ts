import type { Server } from 'node:https';
import type { TlsOptions } from 'node:tls';
import type { Directory } from '#gateway/contract/est.ts';
import type { GroupPolicy } from '#gateway/contract/operator-api.ts';
import type { CertificateName, SuggestedWindow } from '#gateway/contract/renewal-info.ts';
import type { VerifyBinding } from '#gateway/domain/channel-binding.ts';
import type { GatewayError } from '#gateway/domain/gateway-error.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { Log } from '#gateway/ports/log.ts';
import type { Metrics } from '#gateway/ports/metrics.ts';
import type { Randomness } from '#gateway/ports/randomness.ts';

/** DER of the certificate; `givenAgain` when the same key had asked before; `window`: when it is to be renewed. */
export type EnrollmentAnswer = { certificate: Buffer; givenAgain: boolean; window?: SuggestedWindow };

/** What a first enrollment rests on, as it was shown; whose it is and what it allows is for the operation to judge. */
export type EstCredentials =
  /** HTTP Basic; an empty deviceId means the device the ticket is for. */
  | { by: 'ticket'; deviceId: string; ticket: string }
  /** peer: DER of the certificate whose key the client proved in this TLS session; chain: what it sent after it. */
  | { by: 'certificate'; peer: Buffer; chain: Buffer[] };

type Asked = {
  attemptId: string;
  address: string;
  /** Of the path `/.well-known/est/<label>/`: the name of a group. */
  label?: string;
};

type AskedWithCsr = Asked & {
  door: 'est';
  /** Of this connection (RFC 7030 3.5). */
  verifyBinding: VerifyBinding;
  /** PKCS#10, DER. */
  csr: Buffer;
};

/** `nonce`: given to this TLS session and not used since. */
export type EnrollOrder = AskedWithCsr & { credentials: EstCredentials; nonce?: Buffer };

export type ReenrollOrder = AskedWithCsr & { peer: Buffer; nonce?: Buffer };

/** The key in the CSR and its signature mean nothing here (RFC 7030 4.4.1). */
export type ServerKeyOrder = AskedWithCsr & { credentials: EstCredentials };

/** PKCS#8 and certificate, DER. */
export type ServerKeyAnswer = { privateKey: Buffer; certificate: Buffer };

/** The first round trip of an attested enrollment, its binary fields decoded; see contract/attestation.ts. */
export type TpmChallengeOrder = Asked & {
  credentials: EstCredentials;
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

/** credentials: as they were shown, judged by nobody; left out: none. */
type RefusedHere = Asked & {
  kind: 'enroll' | 'reenroll' | 'challenge';
  credentials?: EstCredentials;
  error: GatewayError;
  milliseconds: number;
};

export type EstAuthority = {
  rootCertificate: Buffer;
  intermediateCertificate: Buffer;
  trustDomain: string;
  /** Other issuing CAs of ours whose certificates are good, DER. */
  otherIssuers?: readonly Buffer[];
  /** While a root is being replaced: OldWithOld, OldWithNew, NewWithOld (RFC 7030 4.1.3), DER. */
  rolloverCertificates?: readonly Buffer[];
};

/** The operations behind this door, bound to their own dependencies. They throw GatewayError and write the audit. */
export type EstDeps = {
  /** APPROVAL_PENDING is thrown, too, and answered with 202 (RFC 7030 4.2.3). */
  enrollDevice(order: EnrollOrder): Promise<EnrollmentAnswer>;
  reenrollDevice(order: ReenrollOrder): Promise<EnrollmentAnswer>;
  enrollWithServerKey(order: ServerKeyOrder): Promise<ServerKeyAnswer>;
  createTpmChallenge(order: TpmChallengeOrder): Promise<TpmChallengeMade>;
  /** Of what this door refuses itself, the attempt; the operations record the rest. */
  recordRefusal(refused: RefusedHere): void;
  /** RFC 9773 4.2; `retryAfter` in seconds. @throws GatewayError NOT_FOUND */
  showRenewalInfo(name: CertificateName): Promise<{ window: SuggestedWindow; retryAfter: number }>;
  /** Of the group with this name, or of the default group. @returns undefined when there is no such group. */
  findPolicy(label: string | undefined): Promise<GroupPolicy | undefined>;
  describeAuthority(): EstAuthority;
  /** Where the MQTT door listens; host is left out when it is the host of this door. */
  mqttAddress(): Directory['mqtt'];
  /** The time now, signed with this nonce; see contract/signed-time.ts. */
  signTime(nonce: string): string;
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
  /** Has the requests of a connection handled one at a time; see gateway/runtime/one-at-a-time.ts. */
  keepOrder: (server: Server) => void;
  /** CAs of makers that some group trusts, DER: a client that has several certificates learns which to show. */
  manufacturers?: readonly Uint8Array[];
  limits?: Partial<EstLimits>;
};

export type EstLimits = {
  /**
   * Enrollments worked on at the same time; more are told 503 at once, so that those inside finish quickly. Each makes a
   * turn of the event loop longer, and whoever is refused waits two or three turns.
   */
  inFlight: number;
  /** Open sockets in all; further ones are closed at once. Bounds memory. */
  connections: number;
  /** Open sockets of one address, so that one cannot take all places. */
  connectionsPerAddress: number;
  /** TLS handshakes under way at most, in all and of one address; see handshake-gate.ts for when fewer. */
  handshakes: number;
  handshakesPerAddress: number;
  /** Milliseconds a connection may wait for its handshake to begin; it is closed then. More than `silentHandshake`. */
  handshakeWait: number;
  /**
   * Milliseconds a connection may hold a place for its handshake while others wait for one: without a whole ClientHello it
   * is cut then; one that was answered goes on without the place.
   */
  silentHandshake: number;
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
  /**
   * Requests that one device may make at once, and milliseconds until one is forgotten: attestation and approval, asked
   * for every few seconds, need far fewer. The same for all tickets with the same beginning, from wherever.
   */
  requestsPerDevice: number;
  deviceRequestForgottenAfter: number;
  requestsPerTicketPrefix: number;
  ticketPrefixForgottenAfter: number;
  /**
   * What of one address counts as its share; past it, it only gets places that are not needed by others (half of
   * `inFlight`). 500 devices behind one NAT address that start at the same moment, with three requests each and the
   * same again half a minute later, stay below it.
   */
  requestsPerAddress: number;
  addressRequestForgottenAfter: number;
  /**
   * Renewal information asked for from one address at once, and milliseconds until one is forgotten: it costs a look
   * into the database and no credentials. A site of thousands behind one NAT address, each asking once a day, is far below.
   */
  renewalInfosPerAddress: number;
  renewalInfoForgottenAfter: number;
  /** Milliseconds whose many refusals of one address become one line in the log. */
  refusalLogInterval: number;
};

export const DEFAULT_EST_LIMITS: EstLimits = {
  inFlight: 128,
  connections: 4096,
  connectionsPerAddress: 2048,
  handshakes: 256,
  handshakesPerAddress: 192,
  handshakeWait: 2_000,
  silentHandshake: 1_000,
  handshakeTimeout: 5_000,
  headersTimeout: 10_000,
  requestTimeout: 20_000,
  keepAliveTimeout: 10_000,
  failuresPerIdentity: 30,
  identityForgivenAfter: 3_000,
  failuresPerAddress: 300,
  addressForgivenAfter: 500,
  requestsPerDevice: 60,
  deviceRequestForgottenAfter: 1_000,
  requestsPerTicketPrefix: 60,
  ticketPrefixForgottenAfter: 2_000,
  requestsPerAddress: 2_000,
  addressRequestForgottenAfter: 10,
  renewalInfosPerAddress: 1_000,
  renewalInfoForgottenAfter: 10,
  refusalLogInterval: 10_000,
};
