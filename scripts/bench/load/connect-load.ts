import type { LoadJob, LoadResult } from '#scripts/bench/load-jobs.ts';
import { dial, hangUp } from './dial.ts';
import type { LoadIdentities } from './identities.ts';
import { openMqtt } from './mqtt-session.ts';
import { runLoad } from './run-load.ts';

type Job<Kind extends LoadJob['kind']> = LoadJob & { kind: Kind };

/** In TLS 1.3 the client is done before the server has verified it: the server's answer to our goodbye is the end. */
export function handshakes(identities: LoadIdentities, job: Job<'handshake'>): Promise<LoadResult> {
  const { caFile } = job.target;
  for (const deviceId of job.deviceIds) identities.context(caFile, job.mutual ? deviceId : undefined);
  return runLoad(job.deviceIds, job.concurrency, async (deviceId) => {
    const context = identities.context(caFile, job.mutual ? deviceId : undefined);
    await hangUp(await dial(job.target, context, 'http/1.1'));
  });
}

/** Each lane has devices of its own: two connections of one device would throw each other out. */
export function connectOften(identities: LoadIdentities, job: Job<'connect'>): Promise<LoadResult> {
  for (const deviceId of job.deviceIds) identities.context(job.target.caFile, deviceId);
  const lanes = Math.min(job.concurrency, job.deviceIds.length);
  const turns = Array.from({ length: lanes }, () => 0);
  return runLoad(Array.from({ length: job.count }), lanes, async (_, lane) => {
    const turn = turns[lane] ?? 0;
    turns[lane] = turn + 1;
    const own = Math.floor((job.deviceIds.length - 1 - lane) / lanes) + 1;
    const deviceId = job.deviceIds[lane + (turn % own) * lanes] ?? '';
    const context = identities.context(job.target.caFile, deviceId);
    const session = await openMqtt(await dial(job.target, context, 'mqtt'), deviceId);
    session.leave();
  });
}
