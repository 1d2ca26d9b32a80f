import { createHash } from 'node:crypto';
import { chmod, lstat, mkdir } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { DATA_FOLDER, MAX_SOCKET_PATH } from '#gateway/contract/data-folder.ts';

export type SocketPaths = { operator: string; authority: string };

/**
 * Where this gateway's unix sockets live: in its data folder, or, when that path is too long for a socket, in a folder
 * of this user's own under the system's temporary one. Either is 0700.
 * @throws Error when the folder belongs to somebody else
 */
export async function prepareSockets(data: string): Promise<SocketPaths> {
  const inData = {
    operator: join(data, DATA_FOLDER.operatorSocket),
    authority: join(data, DATA_FOLDER.authoritySocket),
  };
  await makePrivate(join(data, DATA_FOLDER.run));
  if (Buffer.byteLength(inData.operator) <= MAX_SOCKET_PATH && Buffer.byteLength(inData.authority) <= MAX_SOCKET_PATH)
    return inData;
  const name = createHash('sha256').update(data).digest('hex').slice(0, 16);
  const folder = join(tmpdir(), `gatehouse-${userInfo().uid}-${name}`);
  await makePrivate(folder);
  return { operator: join(folder, 'operator.sock'), authority: join(folder, 'authority.sock') };
}

async function makePrivate(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  // lstat: in a folder everybody may write to, somebody else may have put a link there first.
  const found = await lstat(folder);
  if (!found.isDirectory() || found.uid !== userInfo().uid) {
    throw new Error(`${folder} does not belong to this user; remove it and start again`);
  }
  await chmod(folder, 0o700);
}
