import type { TLSSocket } from 'node:tls';
import type { Target } from '#scripts/bench/load-jobs.ts';
import { dial, hangUp } from './dial.ts';
import { postCsr, requireIssued } from './est-request.ts';
import type { LoadIdentities } from './identities.ts';
import { runLoad } from './run-load.ts';

/** A connection of one device and the CSRs it may still send. */
export type KeptConnection = { deviceId: string; socket: TLSSocket; csrs: string[] };

const DIALS_AT_ONCE = 16;

/**
 * A connection and `each` CSRs with new keys for every device, all made before the clock runs. Each has renewed once:
 * the first use of a certificate marks it active, and that belongs to the enrollment, not to the renewal.
 */
export async function keepConnections(
  identities: LoadIdentities,
  { target, deviceIds, each }: { target: Target; deviceIds: readonly string[]; each: number },
): Promise<KeptConnection[]> {
  const kept: KeptConnection[] = [];
  const planned = deviceIds.map((deviceId) => ({
    deviceId,
    context: identities.context(target.caFile, deviceId),
    csrs: Array.from({ length: each }, () => identities.renewalCsr(deviceId)),
    first: identities.renewalCsr(deviceId),
  }));
  const opened = await runLoad(planned, DIALS_AT_ONCE, async ({ context, first, ...rest }) => {
    const socket = await dial(target, context, 'http/1.1');
    requireIssued(await postCsr(socket, 'simplereenroll', first));
    kept.push({ ...rest, socket });
  });
  if (opened.failed > 0) throw new Error(`${opened.failed} connections not kept, the first: ${opened.firstFailure}`);
  return kept;
}

/** The gateway ends a connection that was idle for long, or whose place others need: then it is opened again. */
export async function requireOpen(
  connection: KeptConnection,
  dialAgain: (deviceId: string) => Promise<TLSSocket>,
): Promise<TLSSocket> {
  if (connection.socket.destroyed) connection.socket = await dialAgain(connection.deviceId);
  return connection.socket;
}

export async function hangUpAll(kept: readonly KeptConnection[]): Promise<void> {
  await Promise.all(kept.map(({ socket }) => hangUp(socket)));
}
