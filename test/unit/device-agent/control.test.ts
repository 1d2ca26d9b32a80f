import { mkdtemp, rm, stat } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ControlClient } from '#device-agent/control/control-client.ts';
import { formatMessage, MAX_CONTROL_LINE, parseControlRequest } from '#device-agent/control/control-protocol.ts';
import { ControlServer } from '#device-agent/control/control-server.ts';
import type { RunningAgent } from '#device-agent/operations/running-agent.ts';

let folder: string;
let path: string;
let server: ControlServer;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gatehouse-control-'));
  path = join(folder, 'agent.sock');
  server = await ControlServer.listen(path);
});
afterEach(async () => {
  await server.close();
  await rm(folder, { recursive: true, force: true });
});

/** Everything the server says until it or the timeout-free client closes. */
function talk(text: string, until: (heard: string) => boolean): Promise<string> {
  return new Promise((resolve) => {
    let heard = '';
    const socket = connect(path);
    socket.on('data', (part) => {
      heard += part.toString();
      if (until(heard)) socket.destroy();
    });
    socket.on('error', () => {});
    socket.on('close', () => resolve(heard));
    socket.write(text);
  });
}

describe('the control socket', () => {
  test('is closed to other users', async () => {
    expect((await stat(path)).mode & 0o777).toBe(0o600);
  });
  test('belongs to one process at a time, and is taken over from a dead one', async () => {
    await expect(ControlServer.listen(path)).rejects.toMatchObject({ code: 'AGENT_RUNNING' });
    await server.close();
    await expect(stat(path)).rejects.toThrow();
    server = await ControlServer.listen(path);
  });
  test.each(['garbage', '{"op":"format"}', '{"op":"publish"}', 'null', '[]'])(
    'answers "%s" with an error and stays',
    async (line) => {
      const heard = await talk(`${line}\n\n{"op":"status"}\n`, (text) => text.split('\n').length > 2);
      expect(
        heard
          .trim()
          .split('\n')
          .map((answer) => JSON.parse(answer).code),
      ).toEqual(['USAGE', 'AGENT_NOT_RUNNING']);
    },
  );
  test('ends a connection that sends a line without end', async () => {
    expect(await talk('x'.repeat(MAX_CONTROL_LINE + 100_000), () => false)).toBe('');
  });
  test('tells a waiting client when the agent ends', async () => {
    const asking = Promise.withResolvers<void>();
    const endless = () => {
      asking.resolve();
      return new Promise<never>(() => {});
    };
    server.attach({ renewNow: endless } as unknown as RunningAgent);
    const client = await ControlClient.connect(path);
    const asked = client?.request({ op: 'renew' });
    await asking.promise;
    await server.close();
    await expect(asked).rejects.toMatchObject({ code: 'AGENT_NOT_RUNNING' });
    await client?.closed;
    expect(await ControlClient.connect(path)).toBeUndefined();
  });
  test('carries text as it is and bytes as base64', () => {
    expect(formatMessage('t', Buffer.from('ä"\n'))).toEqual({ kind: 'message', topic: 't', payload: 'ä"\n' });
    expect(formatMessage('t', Buffer.of(0xff, 0))).toEqual({
      kind: 'message',
      topic: 't',
      payload: '/wA=',
      encoding: 'base64',
    });
  });
  test('takes a request of a newer version with more fields', () => {
    expect(parseControlRequest('{"op":"status","verbose":true}')).toEqual({ op: 'status' });
  });
});
