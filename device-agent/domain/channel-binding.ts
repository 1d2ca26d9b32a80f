/** What of a TLS connection is needed here; `TLSSocket` of node:tls has it. */
export type BindableConnection = {
  getProtocol(): string | null;
  exportKeyingMaterial(length: number, label: string, context: Buffer): Buffer;
  getFinished(): Buffer | undefined;
};

/**
 * The channel binding of a connection, as its client sees it: tls-exporter in TLS 1.3 (RFC 9266 2; with a context that
 * is there and empty, without one TLS 1.2 would give another value), tls-unique in TLS 1.2 (RFC 5929 3.1: the first
 * Finished message, which is the client's own since this client resumes no sessions).
 * @returns undefined when the connection has none (any more).
 */
export function channelBindingOf(connection: BindableConnection): Buffer | undefined {
  const protocol = connection.getProtocol();
  if (protocol === 'TLSv1.3') return connection.exportKeyingMaterial(32, 'EXPORTER-Channel-Binding', Buffer.alloc(0));
  return protocol === 'TLSv1.2' ? connection.getFinished() : undefined;
}
