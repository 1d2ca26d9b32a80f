import { connectOften, handshakes } from './load/connect-load.ts';
import { arriveToRenew, arriveWithTickets } from './load/est-arrivals.ts';
import { enroll, reenroll } from './load/est-load.ts';
import { HeldSessions } from './load/held-sessions.ts';
import { LoadIdentities } from './load/identities.ts';
import { arriveOverMqtt } from './load/mqtt-arrivals.ts';
import { renewOverMqtt } from './load/mqtt-renewals.ts';
import { askOcsp } from './load/ocsp-load.ts';
import type { LoadAnswer, LoadJob, LoadRequest, LoadResult } from './load-jobs.ts';

// The process that makes the load, so that it does not share an event loop with what is measured.
const identities = new LoadIdentities();
const held = new HeldSessions(identities);
const ARRIVALS = { enroll: arriveWithTickets, reenroll: arriveToRenew, renew: arriveOverMqtt } as const;

process.on('message', (request: LoadRequest) => {
  run(request.job).then(
    (result) => answer({ id: request.id, result }),
    (error: unknown) => answer({ id: request.id, error: error instanceof Error ? error.message : String(error) }),
  );
});
process.on('disconnect', () => process.exit(0));
// Ctrl-C reaches the whole group: the bench ends us when it has shown what it has.
process.on('SIGINT', () => {});

function answer(message: LoadAnswer): void {
  process.send?.(message);
}

function run(job: LoadJob): Promise<LoadResult> {
  switch (job.kind) {
    case 'prepare':
      return identities.prepare(job.tickets);
    case 'enroll':
      return enroll(identities, job);
    case 'handshake':
      return handshakes(identities, job);
    case 'reenroll':
      return reenroll(identities, job);
    case 'renew':
      return renewOverMqtt(identities, job);
    case 'arrive':
      return ARRIVALS[job.what](identities, job);
    case 'connect':
      return connectOften(identities, job);
    case 'hold':
      return held.open(job);
    case 'closed':
      return held.waitUntilClosed(job.deviceIds);
    case 'ocsp':
      return askOcsp(job);
    case 'release':
      return held.release();
  }
}
