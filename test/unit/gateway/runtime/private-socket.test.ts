import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { listenPrivately } from '#gateway/runtime/private-socket.ts';

let folder: string;
let path: string;
const servers: Server[] = [];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'private-'));
  path = join(folder, 'test.sock');
});
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => new Promise((resolve) => server.close(resolve))));
  await rm(folder, { recursive: true, force: true });
});

async function listen(): Promise<Server> {
  const server = createServer((socket) => socket.end());
  servers.push(server);
  await listenPrivately(server, path);
  return server;
}

test('makes a socket that only its owner may open, and leaves the umask as it was', async () => {
  const umask = process.umask();
  await listen();
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  expect(process.umask()).toBe(umask);
});

test('does not take the place of a process that answers', async () => {
  await listen();
  await expect(listen()).rejects.toMatchObject({ code: 'SOCKET_IN_USE' });
});

test('takes the place of a process that was killed', async () => {
  const script = `require('net').createServer().listen(${JSON.stringify(path)}, () => console.log('up'))`;
  const killed = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(killed.stdout, 'data');
  killed.kill('SIGKILL');
  await once(killed, 'exit');
  expect((await stat(path)).isSocket()).toBe(true);
  await listen();
  expect((await stat(path)).mode & 0o777).toBe(0o600);
});

test('refuses a path that no system could bind, with advice', async () => {
  path = join(folder, 'x'.repeat(110));
  await expect(listen()).rejects.toMatchObject({ code: 'SOCKET_PATH_TOO_LONG' });
});

test('does not remove a file that is not a socket', async () => {
  await writeFile(path, 'precious');
  await chmod(path, 0o600);
  await expect(listen()).rejects.toThrow();
  expect((await stat(path)).isFile()).toBe(true);
});
