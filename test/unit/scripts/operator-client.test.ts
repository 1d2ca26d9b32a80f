import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { DATA_FOLDER } from '#gateway/contract/data-folder.ts';
import { connectOperator } from '#scripts/command-line/operator-client.ts';

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

function json(status: number, body: unknown): Answer {
  return (_, response) => response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

describe('the command line talking to the operator socket', () => {
  let dataDir: string;
  let server: Server | undefined;

  beforeEach(async () => {
    dataDir = await mkdtemp(join(tmpdir(), 'gatehouse-cli-'));
    await mkdir(join(dataDir, DATA_FOLDER.run));
  });
  afterEach(async () => {
    await new Promise<void>((resolve) => (server ? server.close(() => resolve()) : resolve()));
    server = undefined;
    await rm(dataDir, { recursive: true });
  });

  /** A door that answers as it is told. */
  async function listen(answer: Answer): Promise<void> {
    const socket = join(dataDir, DATA_FOLDER.operatorSocket);
    server = createServer(answer);
    await new Promise<void>((resolve) => server?.listen(socket, resolve));
    await writeRunFile(socket);
  }

  async function writeRunFile(operatorSocket: string): Promise<void> {
    await writeFile(join(dataDir, DATA_FOLDER.runFile), JSON.stringify({ pid: process.pid, operatorSocket }));
  }

  test('says that no gateway runs and how to start it when there is no run file', async () => {
    await expect(connectOperator(dataDir)).rejects.toMatchObject({
      code: 'NOT_RUNNING',
      message: `no gateway runs with the data folder ${dataDir}`,
      advice: expect.stringContaining(`gatehouse serve --data ${dataDir}`),
    });
  });

  test.each(['', '{}', '{"pid": 1', 'null'])('says the same when the run file holds %j', async (content) => {
    await writeFile(join(dataDir, DATA_FOLDER.runFile), content);
    await expect(connectOperator(dataDir)).rejects.toMatchObject({ code: 'NOT_RUNNING' });
  });

  test('says the same when a killed gateway left its run file and socket behind', async () => {
    await listen(json(200, {}));
    const operator = await connectOperator(dataDir);
    await new Promise((resolve) => server?.close(resolve));
    server = undefined;
    await expect(operator.call('listGroups')).rejects.toMatchObject({ code: 'NOT_RUNNING' });
  });

  test('finds a socket that the run file names relative to the data folder', async () => {
    await listen(json(200, { trustDomain: 'x' }));
    await writeRunFile(DATA_FOLDER.operatorSocket);
    const operator = await connectOperator(dataDir);
    expect(await operator.call('describeCa')).toEqual({ trustDomain: 'x' });
  });

  test('shows what is wrong and what to do next from a problem, with the name of the device', async () => {
    const detail = '"press-07" is registered already';
    await listen(json(409, { type: 'about:blank', title: 'Conflict', status: 409, code: 'ALREADY_EXISTS', detail }));
    const operator = await connectOperator(dataDir);
    await expect(operator.call('addDevice', { body: { deviceId: 'press-07' } })).rejects.toMatchObject({
      code: 'FAILED',
      reason: 'ALREADY_EXISTS',
      message: detail,
      advice: expect.stringContaining('gatehouse device add press-07 --new-ticket'),
    });
  });

  test('escapes what people type into a path', async () => {
    let seen: string | undefined;
    await listen((request, response) => {
      seen = request.url;
      response.end('{}');
    });
    const operator = await connectOperator(dataDir);
    await operator.call('showGroup', { params: ['../devices?x=1#'] });
    expect(seen).toBe('/v1/groups/..%2Fdevices%3Fx%3D1%23');
  });

  test('lets no control character of a device reach the terminal', async () => {
    await listen(json(200, { items: [{ detail: 'a\u001b[2Jb\u0007\nc' }], nextCursor: null }));
    const operator = await connectOperator(dataDir);
    expect(await operator.list('listAudit')).toEqual([{ detail: 'a\uFFFD[2Jb\uFFFD\nc' }]);
  });

  test('fetches every page of a list, and stops at the limit', async () => {
    const all = Array.from({ length: 450 }, (_, index) => index);
    await listen((request, response) => {
      const query = new URL(request.url ?? '', 'http://unix').searchParams;
      const from = Number(query.get('after') ?? 0);
      const to = from + Number(query.get('limit'));
      const page = { items: all.slice(from, to), nextCursor: to < all.length ? String(to) : null };
      response.end(JSON.stringify(page));
    });
    const operator = await connectOperator(dataDir);
    expect(await operator.list('listAudit')).toEqual(all);
    expect(await operator.list('listAudit', {}, 250)).toEqual(all.slice(0, 250));
  });

  test.each<[string, Answer]>([
    ['is not JSON', (_, response) => response.end('<html>')],
    [
      'ends in the middle',
      (_, response) => response.writeHead(200, { 'content-length': 99 }).write('{"a"', () => response.destroy()),
    ],
    ['never begins', (request) => request.socket.destroy()],
    ['is an error without a problem', (_, response) => response.writeHead(500).end()],
  ])('fails with a reason when the answer %s', async (_, answer) => {
    await listen(answer);
    const operator = await connectOperator(dataDir);
    await expect(operator.call('describeCa')).rejects.toMatchObject({ name: 'CommandError', code: 'FAILED' });
  });
});
