import type { BrokerClient } from './broker-client.ts';

/** What the parser says when a packet announces more than is allowed; the session's end reason is found by it. */
export const PACKET_TOO_LARGE = 'packet too large';

/**
 * aedes has no limit: it would buffer up to 256 MB a connection, before CONNECT too. This looks at the announced
 * length as soon as the header is there, before any of the payload is waited for.
 */
export function guardPacketSize(client: BrokerClient, maxPacketBytes: number): void {
  const parser = client._parser;
  const parsePayload = parser._parsePayload;
  parser._parsePayload = function guarded() {
    if (this.packet.length > maxPacketBytes) {
      this._emitError(new Error(PACKET_TOO_LARGE));
      return false;
    }
    return parsePayload.call(this);
  };
}
