import type { LoadJob, LoadResult } from '#scripts/bench/load-jobs.ts';
import { dial } from './dial.ts';
import { basicHeader, postCsr, requireIssued } from './est-request.ts';
import type { LoadIdentities } from './identities.ts';
import { hangUpAll, keepConnections } from './kept-connections.ts';
import { runLoad } from './run-load.ts';

type Job<Kind extends LoadJob['kind']> = LoadJob & { kind: Kind };

export async function enroll(identities: LoadIdentities, job: Job<'enroll'>): Promise<LoadResult> {
  const context = identities.context(job.target.caFile);
  const handshakes: number[] = [];
  const result = await runLoad(
    job.deviceIds,
    job.concurrency,
    async (deviceId) => {
      const device = identities.find(deviceId);
      const begun = performance.now();
      const socket = await dial(job.target, context, 'http/1.1');
      handshakes.push(performance.now() - begun);
      const reply = await postCsr(socket, 'simpleenroll', device.csr, basicHeader(deviceId, device.ticket));
      device.answer = requireIssued(reply);
      socket.destroy();
    },
    job.watch,
  );
  return { ...result, handshakes };
}

export async function reenroll(identities: LoadIdentities, job: Job<'reenroll'>): Promise<LoadResult> {
  const kept = await keepConnections(identities, job);
  const turns = kept.flatMap((one) => one.csrs.map((csr, turn) => ({ ...one, csr, turn })));
  const result = await runLoad(
    turns.toSorted((a, b) => a.turn - b.turn),
    job.concurrency,
    async ({ socket, csr }) => {
      requireIssued(await postCsr(socket, 'simplereenroll', csr));
    },
    job.watch,
  );
  await hangUpAll(kept);
  return result;
}
