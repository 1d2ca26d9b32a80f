import type { TLSSocket } from 'node:tls';
import type { Client } from 'aedes';
import type { DeviceIdentity, EnrollmentIdentity } from '#gateway/domain/topic-policy.ts';
import type { EnrollmentGrant } from '#gateway/operations/admit-session.ts';
import type { LiveSession } from '#gateway/ports/broker.ts';
import type { BrokerClient } from './broker-client.ts';
import type { Conversation } from './conversation.ts';

/** What TLS showed: DER, and lazily what the client sent with it; and whether TLS has borne that it has ended. */
export type ShownCertificate = { der: Buffer; chain: () => Buffer[]; hasExpired: boolean };

/** One connection, from the end of its TLS handshake to the close of its socket. */
export type Session = {
  readonly id: number;
  readonly socket: TLSSocket;
  readonly address: string;
  /** The broker's end of it. */
  client: BrokerClient | undefined;
  /** The client certificate; dropped once it has been judged. */
  certificate: ShownCertificate | undefined;
  /** Set when CONNECT was granted. */
  member: Member | undefined;
  /** The refusal is in the log already. */
  refused: boolean;
  /** The first reason counts: what follows is its consequence. */
  endReason: string | undefined;
  /** The socket is closed, not only destroyed: `socket.closed` is true too early, before the system knows. */
  closed: boolean;
};

/** Who the session belongs to and what it is doing. */
export type Member = DeviceMember | EnrollmentMember;

type MemberState = {
  readonly notAfter: number;
  /** Topics of this device that it may write begin with this. */
  readonly outPrefix: string;
  readonly filters: Set<string>;
  /** What it asks on its CSR topic and is answered. */
  readonly csr: Conversation;
  /** When it was marked as revoked. */
  revokedSince: number | undefined;
  /** Nothing it still has to say (its will included) is passed on. */
  muted: boolean;
  /** Reports being worked on. */
  pendingReports: number;
};

/** The session of a device: there is one, the newest. */
export type DeviceMember = MemberState & {
  readonly kind: 'device';
  readonly live: LiveSession;
  readonly identity: DeviceIdentity;
  readonly group: string;
  readonly noticeTopic: string;
  /** A granted filter covers its notice topic. */
  listens: boolean;
  delivery: 'idle' | 'running' | 'again';
};

/** A session of somebody who may only ask for a device's certificate. It never takes the place of the device's own. */
export type EnrollmentMember = MemberState & {
  readonly kind: 'enrollment';
  /** serial: as its issuer numbered it, which for a maker's certificate says nothing here. */
  readonly live: Omit<LiveSession, 'serial'> & { serial: string };
  readonly identity: EnrollmentIdentity;
  readonly grant: EnrollmentGrant;
};

/** Ends the connection at once. @returns false when it was ending already. */
export function endSession(session: Session, reason: string): boolean {
  if (session.socket.destroyed) return false;
  session.endReason ??= reason;
  session.socket.destroy();
  return true;
}

/** Resolves when the socket is closed. */
export function whenClosed(session: Session): Promise<void> {
  return new Promise((resolve) => {
    if (session.closed) resolve();
    else session.socket.once('close', () => resolve());
  });
}

/** The session of each of the broker's clients. */
export type SessionOf = (client: Client) => Session | undefined;
