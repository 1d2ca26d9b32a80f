import type { AedesOptions, AuthenticateError, Client, PublishPacket } from 'aedes';
import { mayPublish, mayReceive, maySubscribe, type TopicIdentity } from '#gateway/domain/topic-policy.ts';
import type { Log } from '#gateway/ports/log.ts';
import type { MqttLimits } from './mqtt-limits.ts';
import { endSession, type Session, type SessionOf } from './session.ts';
import type { SessionTable } from './session-table.ts';

export type AccessDeps = { sessionOf: SessionOf; table: SessionTable; limits: MqttLimits; log: Log };

type Hook =
  | 'preConnect'
  | 'authenticate'
  | 'authorizePublish'
  | 'authorizeSubscribe'
  | 'authorizeForward'
  | 'published';

const NOT_ALLOWED = new Error('not allowed');

/**
 * Every hook aedes has: those left out would allow. None may throw, an exception in one ends the process; what goes
 * wrong here is a refusal.
 */
export function accessHooks(deps: AccessDeps): Required<Pick<AedesOptions, Hook>> {
  const failed = (hook: Hook, error: unknown) => deps.log.error('broker hook failed', { hook, error });
  return {
    // CONNECT is answered before aedes sees it: one that gets here has found a way around, and goes no further.
    preConnect(_client, _packet, done) {
      done(NOT_ALLOWED, false);
    },
    authenticate(_client, _username, _password, done) {
      done(NOT_ALLOWED as AuthenticateError, false);
    },
    authorizePublish(client, packet, done) {
      let allowed = false;
      try {
        allowed = client !== null && isPublishAllowed(deps, client, packet);
      } catch (error) {
        failed('authorizePublish', error);
      }
      done(allowed ? null : NOT_ALLOWED);
    },
    authorizeSubscribe(client, subscription, done) {
      let allowed = false;
      try {
        allowed = isSubscribeAllowed(deps, client, subscription.topic);
      } catch (error) {
        failed('authorizeSubscribe', error);
      }
      // null: SUBACK 0x80 for this filter, and nothing is subscribed.
      done(null, allowed ? subscription : null);
    },
    authorizeForward(client, packet) {
      try {
        return isDeliveryAllowed(deps, client, packet.topic) ? packet : null;
      } catch (error) {
        failed('authorizeForward', error);
        return null;
      }
    },
    published(_packet, _client, done) {
      done(null);
    },
  };
}

function isPublishAllowed({ sessionOf, table, log }: AccessDeps, client: Client, packet: PublishPacket): boolean {
  const session = sessionOf(client);
  const member = session?.member;
  if (session === undefined || member === undefined) return false;
  if (client.closed) {
    // A will. A device that is connected again by now has not gone away.
    const current = table.ofDevice(member.live.deviceId);
    const isGone = current === undefined || current === session;
    return isGone && !member.muted && mayPublish(member.identity, packet.topic);
  }
  // Only the gateway's own notices are retained: a device could fill the memory with as many topics as it likes.
  packet.retain = false;
  // What a revoked or quarantined session says is dropped later, not refused here: that would cut it off.
  if (mayPublish(withoutLimits(member.identity), packet.topic)) return true;
  const { deviceId, serial } = member.live;
  log.warn('publish refused', { deviceId, serial, topic: packet.topic.slice(0, 200), address: session.address });
  session.endReason ??= 'publish-refused';
  return false;
}

function withoutLimits(identity: TopicIdentity): TopicIdentity {
  if (identity.kind === 'enrollment') return identity.revoked ? { ...identity, revoked: false } : identity;
  return identity.revoked || identity.quarantined ? { ...identity, revoked: false, quarantined: false } : identity;
}

function isSubscribeAllowed({ sessionOf, limits, log }: AccessDeps, client: Client, filter: string): boolean {
  const session = sessionOf(client);
  const member = session?.member;
  if (session === undefined || member === undefined) return false;
  const allowed = maySubscribe(member.identity, filter);
  if (allowed && (member.filters.has(filter) || member.filters.size < limits.maxFilters)) {
    member.filters.add(filter);
    return true;
  }
  const { deviceId, serial } = member.live;
  const reason = allowed ? 'too many filters' : 'not its topic';
  log.warn('subscribe refused', { deviceId, serial, filter: filter.slice(0, 200), reason, address: session.address });
  return false;
}

function isDeliveryAllowed({ sessionOf, table, limits }: AccessDeps, client: Client, topic: string): boolean {
  const session = sessionOf(client);
  const identity: TopicIdentity | undefined = session?.member?.identity;
  if (session === undefined || identity === undefined || !mayReceive(identity, topic, table.groupOf)) return false;
  return hasRoom(session, limits);
}

/** A reader that does not read is closed; the others do not wait for it. */
export function hasRoom(session: Session, limits: MqttLimits): boolean {
  if (session.socket.writableLength <= limits.maxWriteBufferBytes) return true;
  endSession(session, 'too-slow');
  return false;
}
