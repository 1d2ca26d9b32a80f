import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { delimiter, join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';

/** PEM files of the gateway's own: its CA and its server certificate serve both brokers. */
export type MosquittoTls = { root: string; intermediate: string; certificate: string; key: string };

const START_MS = 10_000;

/** undefined when it is not installed. In sbin, which is not on every user's PATH. */
export function findMosquitto(): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter).filter(Boolean), '/usr/sbin', '/usr/local/sbin'];
  return folders
    .map((folder) => join(folder, 'mosquitto'))
    .find((file) => {
      try {
        accessSync(file, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

/** A real Mosquitto with mutual TLS on a loopback port. */
export class Mosquitto {
  readonly port: number;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, port: number) {
    this.#child = child;
    this.port = port;
  }

  /** @param options.noDelay Mosquitto's set_tcp_nodelay, which is off unless set. */
  static async start(
    file: string,
    folder: string,
    tls: MosquittoTls,
    options: { noDelay: boolean },
  ): Promise<Mosquitto> {
    const name = options.noDelay ? 'mosquitto-nodelay' : 'mosquitto';
    const port = await freePort();
    const path = (end: string) => join(folder, `${name}.${end}`);
    await writeFile(path('ca.pem'), (await readFile(tls.root, 'utf8')) + (await readFile(tls.intermediate, 'utf8')));
    await writeFile(path('crt'), await readFile(tls.certificate, 'utf8'));
    await copyFile(tls.key, path('key'));
    const lines = [
      // Started by root it would become a user that cannot read these files.
      'user root',
      'persistence false',
      `log_dest file ${path('log')}`,
      'log_type error',
      'max_connections -1',
      ...(options.noDelay ? ['set_tcp_nodelay true'] : []),
      `listener ${port} 127.0.0.1`,
      `cafile ${path('ca.pem')}`,
      `certfile ${path('crt')}`,
      `keyfile ${path('key')}`,
      'tls_version tlsv1.3',
      'require_certificate true',
      'use_identity_as_username true',
    ];
    await writeFile(path('conf'), `${lines.join('\n')}\n`);
    const child = spawn(file, ['-c', path('conf')], { stdio: 'ignore', detached: true });
    const broker = new Mosquitto(child, port);
    const ended = new Promise<never>((_, reject) => {
      child.on('error', reject);
      child.on('exit', (code) => reject(new Error(`mosquitto ended (exit code ${code}); see ${path('log')}`)));
    });
    ended.catch(() => {});
    try {
      await Promise.race([untilListening(port), ended]);
    } catch (error) {
      await broker.stop();
      throw error;
    }
    return broker;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null || this.#child.pid === undefined) return;
    const ended = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.kill('SIGTERM');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), 3000);
    await ended;
    clearTimeout(timer);
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (typeof address !== 'object' || address === null) throw new Error('no free port');
  return address.port;
}

async function untilListening(port: number): Promise<void> {
  const giveUp = performance.now() + START_MS;
  for (;;) {
    const isOpen = await new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1');
      socket.once('connect', () => {
        socket.destroy();
        resolve(true);
      });
      socket.once('error', () => resolve(false));
    });
    if (isOpen) return;
    if (performance.now() > giveUp) throw new Error('mosquitto does not listen');
    await wait(50);
  }
}
