import { connect, type Socket } from 'node:net';
import type { LoadJob, LoadResult } from '#scripts/bench/load-jobs.ts';
import { runLoad } from './run-load.ts';

/** Asks the status door `count` times on kept connections, the same request each time. */
export async function askOcsp(job: LoadJob & { kind: 'ocsp' }): Promise<LoadResult> {
  const request = Buffer.from(job.request, 'base64');
  const idle = await Promise.all(Array.from({ length: job.concurrency }, () => dialPlain(job.host, job.port)));
  const all = [...idle];
  try {
    return await runLoad(
      Array.from({ length: job.count }, (_, index) => index),
      job.concurrency,
      async () => {
        const socket = idle.pop();
        if (socket === undefined) throw new Error('no connection left');
        await exchange(socket, request);
        idle.push(socket);
      },
    );
  } finally {
    for (const socket of all) socket.destroy();
  }
}

function dialPlain(host: string, port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, noDelay: true });
    socket.once('connect', () => resolve(socket));
    socket.once('error', reject);
  });
}

/** @throws Error when the answer is not 200 with a signed response in it */
function exchange(socket: Socket, request: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    let answer: Buffer = Buffer.alloc(0);
    const end = (settle: () => void) => {
      socket.off('data', onData).off('close', onClose);
      settle();
    };
    const onClose = () => end(() => reject(new Error('closed before the answer')));
    const onData = (chunk: Buffer) => {
      answer = answer.length === 0 ? chunk : Buffer.concat([answer, chunk]);
      const headEnd = answer.indexOf('\r\n\r\n');
      if (headEnd === -1) return;
      const head = answer.toString('latin1', 0, headEnd);
      const length = Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0);
      if (answer.length < headEnd + 4 + length) return;
      // An answer without a signature is a refusal of some octets.
      const isGood = head.startsWith('HTTP/1.1 200') && length > 100;
      end(() => (isGood ? resolve() : reject(new Error(head.split('\r\n')[0]))));
    };
    socket.on('data', onData).on('close', onClose);
    socket.write(request);
  });
}
