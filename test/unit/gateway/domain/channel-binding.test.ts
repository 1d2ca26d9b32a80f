import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { connect, createServer, type Server, type TLSSocket } from 'node:tls';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { verifyChannelBinding } from '#gateway/domain/channel-binding.ts';
import { createTestAuthority } from '#test/fixtures/doors/certificates.ts';

type Pair = { client: TLSSocket; server: TLSSocket };

let server: Server;
const open: TLSSocket[] = [];

/** The doors resume no session; this server does, as one behind which the gateway may stand some day. */
beforeEach(async () => {
  const { keyPem: key, pem: cert } = await (await createTestAuthority()).issueServer();
  server = createServer({ key, cert, maxVersion: 'TLSv1.2' });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});
afterEach(() => {
  for (const socket of open.splice(0)) socket.destroy();
  server.close();
});

async function connectTwo(session?: Buffer): Promise<Pair> {
  const accepted = once(server, 'secureConnection') as Promise<[TLSSocket]>;
  const { port } = server.address() as AddressInfo;
  const client = connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ...(session && { session }) });
  open.push(client);
  await once(client, 'secureConnect');
  const [other] = await accepted;
  open.push(other);
  return { client, server: other };
}

function passwordOf(value: Buffer | undefined): string {
  return (value ?? Buffer.alloc(0)).toString('base64');
}

it('is tls-unique, the first Finished: of the client after a full handshake, of the server after a resumed one (RFC 5929 3.1)', async () => {
  const full = await connectTwo();
  expect(full.server.isSessionReused()).toBe(false);
  expect(full.client.getFinished()).toHaveLength(12);
  verifyChannelBinding(passwordOf(full.client.getFinished()), full.server);
  const others = passwordOf(full.client.getPeerFinished());
  expect(() => verifyChannelBinding(others, full.server)).toThrow(/tls-unique/);

  const resumed = await connectTwo(full.client.getSession());
  expect(resumed.server.isSessionReused()).toBe(true);
  verifyChannelBinding(passwordOf(resumed.client.getPeerFinished()), resumed.server);
  for (const wrong of [resumed.client.getFinished(), full.client.getFinished(), full.client.getPeerFinished()]) {
    expect(() => verifyChannelBinding(passwordOf(wrong), resumed.server)).toThrow(/tls-unique/);
  }
});

it('is missed where there is no TLS to be bound to', () => {
  expect(() => verifyChannelBinding(passwordOf(Buffer.alloc(12, 1)), undefined)).toThrow(
    expect.objectContaining({ code: 'CSR_BINDING_INVALID', message: expect.stringContaining('no channel binding') }),
  );
});
