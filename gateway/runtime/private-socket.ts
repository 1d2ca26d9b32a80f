import { lstat, rm } from 'node:fs/promises';
import { connect, type Server } from 'node:net';
import { MAX_SOCKET_PATH } from '#gateway/contract/data-folder.ts';
import { RuntimeError } from './runtime-error.ts';

/**
 * Listens on a unix socket that only this user may open, 0600 from its first moment: the umask is narrowed for the
 * one synchronous call that creates it. (A chmod afterwards would leave a moment for others.) A socket left behind by
 * a killed process is removed; one that answers is not.
 * @throws RuntimeError SOCKET_IN_USE, SOCKET_PATH_TOO_LONG
 */
export async function listenPrivately(server: Server, path: string): Promise<void> {
  if (Buffer.byteLength(path) > MAX_SOCKET_PATH) {
    throw new RuntimeError(
      'SOCKET_PATH_TOO_LONG',
      `${path} is longer than the ${MAX_SOCKET_PATH} bytes a unix socket may have: use a data folder with a shorter path`,
    );
  }
  if (await isAnswered(path)) {
    throw new RuntimeError('SOCKET_IN_USE', `another process listens on ${path}: is the gateway running already?`);
  }
  await removeSocket(path);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.once('listening', () => {
      server.off('error', reject);
      resolve();
    });
    const umask = process.umask(0o177);
    try {
      server.listen({ path });
    } finally {
      process.umask(umask);
    }
  });
}

/** Only a socket: whatever else stands there is not ours, and listening will say so. */
async function removeSocket(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (found?.isSocket() === true) await rm(path, { force: true });
}

function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
