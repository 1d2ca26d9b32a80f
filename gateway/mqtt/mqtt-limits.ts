/** Bounds of the MQTT door: each says what it prevents. Tests make them small. */
export type MqttLimits = {
  /** Milliseconds from the first byte allowed in to the end of the TLS handshake. Half-open handshakes end here. */
  handshakeTimeoutMs: number;
  /**
   * Milliseconds a socket may hold a place for a handshake that others wait for: then it goes on without one.
   */
  silentHandshakeMs: number;
  /** Handshakes that go on so although no whole ClientHello has come; what is beyond is closed. */
  maxLateHandshakes: number;
  /** Milliseconds from the end of the TLS handshake to a whole CONNECT. */
  connectTimeoutMs: number;
  /** TLS handshakes at the same time: each costs the event loop about a millisecond, which live sessions wait for. */
  maxHandshakes: number;
  /** Of these, how many one address may hold, so that a neighbour always finds a free one. */
  maxHandshakesPerAddress: number;
  /** Accepted sockets waiting for their handshake; beyond it new ones are closed at once. */
  maxWaiting: number;
  /** Milliseconds a socket may wait: past it the client has most likely given up. */
  maxWaitMs: number;
  /** Sockets in any state. */
  maxConnections: number;
  /** Connections an address may have started and not yet turned into admitted sessions. Admission gives them back. */
  addressBurst: number;
  /** How many of these come back per second without an admission: the pace of an address that always fails. */
  addressPerSecond: number;
  /** Remaining length of an MQTT packet, in bytes. */
  maxPacketBytes: number;
  /**
   * Packets a session may send at once, and how many of these come back per second; past it it is read more slowly. Of
   * what it only answers to messages, twenty count as one.
   */
  packetBurst: number;
  packetsPerSecond: number;
  /** Bytes waiting for a slow reader, per session; beyond it the session is closed. */
  maxWriteBufferBytes: number;
  /** Milliseconds a full socket may take to drain. */
  drainTimeoutMs: number;
  /** Milliseconds between looks at expired certificates and stale counters. */
  sweepMs: number;
  /** Topic filters of one session. */
  maxFilters: number;
  /** Acknowledgements, state reports and CSRs of one session that are being worked on. */
  maxPendingReports: number;
  /**
   * Sessions of claims and makers' certificates, and as many of certificates that have expired. Past it the one that has
   * been silent longest makes room, if it was silent for `enrollmentPatienceMs`; else the newcomer is told to come back.
   */
  maxEnrollmentSessions: number;
  enrollmentPatienceMs: number;
  /** Milliseconds such a session may last without asking for anything. */
  enrollmentIdleMs: number;
  /** Milliseconds it may last at most, asking or waiting for a person: who has to wait longer comes again. */
  enrollmentWaitMs: number;
  /** CSRs of all sessions worked on at the same time; more are told to come back, so that those inside finish quickly. */
  maxCsrsInWork: number;
  /** CSRs of one session worked on at the same time, and of those, how many may wait for a person. */
  maxCsrsOfSession: number;
  /** CSRs one identity may send at once without being granted, and how many of these come back per second. */
  csrBurst: number;
  csrPerSecond: number;
  /** The same for all of one network together. */
  csrAddressBurst: number;
  csrAddressPerSecond: number;
  /** Refusals of one certificate inside the window before its connections end right after TLS, without CONNACK. */
  maxRefusals: number;
  refusalWindowMs: number;
};

export const DEFAULT_MQTT_LIMITS: MqttLimits = {
  handshakeTimeoutMs: 5_000,
  silentHandshakeMs: 1_000,
  maxLateHandshakes: 256,
  connectTimeoutMs: 5_000,
  maxHandshakes: 128,
  maxHandshakesPerAddress: 96,
  maxWaiting: 10_000,
  maxWaitMs: 10_000,
  maxConnections: 20_000,
  addressBurst: 256,
  addressPerSecond: 32,
  maxPacketBytes: 64 * 1024,
  packetBurst: 5_000,
  packetsPerSecond: 500,
  maxWriteBufferBytes: 512 * 1024,
  drainTimeoutMs: 5_000,
  sweepMs: 1_000,
  maxFilters: 64,
  maxPendingReports: 64,
  maxEnrollmentSessions: 2_000,
  enrollmentPatienceMs: 30_000,
  enrollmentIdleMs: 15 * 60_000,
  enrollmentWaitMs: 3_600_000,
  maxCsrsInWork: 64,
  maxCsrsOfSession: 4,
  csrBurst: 20,
  csrPerSecond: 1 / 3,
  csrAddressBurst: 1_000,
  csrAddressPerSecond: 50,
  maxRefusals: 10,
  refusalWindowMs: 60_000,
};
