import { setTimeout as wait } from 'node:timers/promises';

const INSPECTOR_MS = 5000;

/**
 * Has another Node process collect all garbage, over its inspector, which SIGUSR1 opens on loopback. Without it the
 * memory of sessions cannot be told from that of what has been forgotten.
 * @param tail the last lines the process said: the inspector's address is among them.
 */
export async function collectGarbage(pid: number, tail: () => readonly string[]): Promise<void> {
  const socket = new WebSocket(await inspectorUrl(pid, tail));
  try {
    await new Promise<void>((resolve, reject) => {
      socket.onopen = () => resolve();
      socket.onerror = () => reject(new Error('the inspector of the gateway does not answer'));
    });
    // Twice: the first pass frees what the finalizers of the second need.
    for (let id = 1; id <= 2; id += 1) {
      await new Promise<void>((resolve) => {
        socket.onmessage = () => resolve();
        socket.send(JSON.stringify({ id, method: 'HeapProfiler.collectGarbage' }));
      });
      await wait(100);
    }
  } finally {
    socket.close();
  }
}

const known = new Map<number, string>();

async function inspectorUrl(pid: number, tail: () => readonly string[]): Promise<string> {
  const before = known.get(pid);
  if (before !== undefined) return before;
  process.kill(pid, 'SIGUSR1');
  for (const giveUp = performance.now() + INSPECTOR_MS; performance.now() < giveUp; ) {
    const url = tail()
      .map((line) => /Debugger listening on (ws:\S+)/.exec(line)?.[1])
      .find((found) => found !== undefined);
    if (url !== undefined) {
      known.set(pid, url);
      return url;
    }
    await wait(20);
  }
  throw new Error('the inspector of the gateway did not open');
}
