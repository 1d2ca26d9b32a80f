import type { TLSSocket } from 'node:tls';
import { CONTENT_TYPE, EST_BASE_PATH } from '#gateway/contract/est.ts';
import type { LoadJob, LoadResult } from '#scripts/bench/load-jobs.ts';
import { dial, hangUp } from './dial.ts';
import type { LoadIdentities } from './identities.ts';
import { runLoad } from './run-load.ts';

type Job<Kind extends LoadJob['kind']> = LoadJob & { kind: Kind };

export function enroll(identities: LoadIdentities, job: Job<'enroll'>): Promise<LoadResult> {
  const context = identities.context(job.target.caFile);
  return runLoad(job.deviceIds, job.concurrency, async (deviceId) => {
    const device = identities.find(deviceId);
    const socket = await dial(job.target, context, 'http/1.1');
    const basic = Buffer.from(`${deviceId}:${device.ticket}`).toString('base64');
    device.answer = await post(socket, 'simpleenroll', device.csr, `Authorization: Basic ${basic}\r\n`);
    socket.destroy();
  });
}

export async function reenroll(identities: LoadIdentities, job: Job<'reenroll'>): Promise<LoadResult> {
  const kept: { deviceId: string; socket: TLSSocket; csrs: string[] }[] = [];
  for (const deviceId of job.deviceIds) {
    const csrs = await Promise.all(Array.from({ length: job.each + 1 }, () => identities.renewalCsr(deviceId)));
    kept.push({
      deviceId,
      csrs,
      socket: await dial(job.target, identities.context(job.target.caFile, deviceId), 'http/1.1'),
    });
  }
  // The first use of a certificate marks it active: that belongs to the enrollment, not to the renewal.
  const first = await runLoad(kept, job.concurrency, async ({ socket, csrs }) => {
    await post(socket, 'simplereenroll', csrs.pop() ?? '', '');
  });
  const result = await runLoad(
    kept.flatMap((one) => one.csrs.map((csr, turn) => ({ ...one, csr, turn }))).toSorted((a, b) => a.turn - b.turn),
    job.concurrency,
    async ({ socket, csr }) => {
      await post(socket, 'simplereenroll', csr, '');
    },
  );
  await Promise.all(kept.map(({ socket }) => hangUp(socket)));
  return { ...result, failed: result.failed + first.failed, firstFailure: first.firstFailure ?? result.firstFailure };
}

/** One request and its whole answer. @returns the body. @throws Error with the status and text of a refusal. */
function post(socket: TLSSocket, operation: string, body: string, headers: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    const end = (settle: () => void) => {
      socket.off('data', onData).off('close', onClose);
      settle();
    };
    const onClose = () => end(() => reject(new Error('closed before the answer')));
    const onData = (chunk: Buffer) => {
      text += chunk.toString('latin1');
      const headEnd = text.indexOf('\r\n\r\n');
      if (headEnd === -1) return;
      const length = Number(/^content-length: *(\d+)/im.exec(text.slice(0, headEnd))?.[1] ?? 0);
      const answer = text.slice(headEnd + 4);
      if (answer.length < length) return;
      const status = text.slice(9, 12);
      end(() => (status === '200' ? resolve(answer) : reject(new Error(`${status} ${answer.trim()}`))));
    };
    socket.on('data', onData).on('close', onClose);
    socket.write(
      `POST ${EST_BASE_PATH}/${operation} HTTP/1.1\r\nHost: gateway\r\nContent-Type: ${CONTENT_TYPE.csr}\r\n` +
        `${headers}Content-Length: ${body.length}\r\n\r\n${body}`,
    );
  });
}
