import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, watch, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A real software TPM with endorsement certificates of a manufacturer of its own, and the tools that speak to it. */
export type SoftwareTpm = {
  /** DER. */
  makerRoot: Buffer;
  makerIssuer: Buffer;
  /** Runs a tool of tpm2-tools in the folder of this TPM, then frees every object slot. @throws Error when it fails */
  tool: (name: string, ...args: string[]) => Buffer;
  read: (file: string) => Buffer;
  write: (file: string, bytes: Uint8Array) => void;
  stop: () => Promise<void>;
};

/** Made by swtpm_setup: RSA-2048 certificate at 0x1c00002 for 0x81010001, P-384 at 0x1c00016 for 0x81010016. */
export async function startSoftwareTpm(): Promise<SoftwareTpm> {
  const dir = mkdtempSync(join(tmpdir(), 'gatehouse-swtpm-'));
  const ca = join(dir, 'ca');
  manufacture(dir, ca);
  const socket = join(dir, 'tpm.sock');
  const child = spawn('swtpm', swtpmArguments(join(dir, 'state'), socket), { stdio: 'ignore' });
  await appeared(child, dir, socket);
  const env = { ...process.env, TPM2TOOLS_TCTI: `swtpm:path=${socket}` };
  const run = (name: string, args: string[]) =>
    execFileSync(name, args, { cwd: dir, env, stdio: ['ignore', 'pipe', 'pipe'], timeout: 20_000 });
  return {
    makerRoot: derOf(join(ca, 'swtpm-localca-rootca-cert.pem')),
    makerIssuer: derOf(join(ca, 'issuercert.pem')),
    tool: (name, ...args) => {
      const output = run(name, args);
      if (name !== 'tpm2_flushcontext') run('tpm2_flushcontext', ['-t']);
      return output;
    },
    read: (file) => readFileSync(join(dir, file)),
    write: (file, bytes) => writeFileSync(join(dir, file), bytes),
    stop: async () => {
      const exited = once(child, 'exit');
      child.kill('SIGTERM');
      await exited;
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

function swtpmArguments(state: string, socket: string): string[] {
  const server = ['--server', `type=unixio,path=${socket}`, '--ctrl', `type=unixio,path=${socket}.ctrl`];
  const flags = ['--flags', 'not-need-init,startup-clear'];
  return ['socket', '--tpm2', '--tpmstate', `dir=${state}`, ...server, ...flags];
}

function manufacture(dir: string, ca: string): void {
  for (const folder of [ca, join(dir, 'state')]) mkdirSync(folder);
  const file = (name: string, ...lines: string[]) => {
    writeFileSync(join(dir, name), `${lines.join('\n')}\n`);
    return join(dir, name);
  };
  const config = file(
    'localca.conf',
    `statedir = ${ca}`,
    `signingkey = ${join(ca, 'signkey.pem')}`,
    `issuercert = ${join(ca, 'issuercert.pem')}`,
    `certserial = ${join(ca, 'certserial')}`,
  );
  const options = file(
    'localca.options',
    '--platform-manufacturer Acme',
    '--platform-version 1.0',
    '--platform-model Gadget',
  );
  const setup = file(
    'setup.conf',
    'create_certs_tool= swtpm_localca',
    `create_certs_tool_config = ${config}`,
    `create_certs_tool_options = ${options}`,
    'active_pcr_banks = sha256',
  );
  const state = ['--tpm2', '--tpm-state', `dir://${join(dir, 'state')}`, '--config', setup];
  execFileSync('swtpm_setup', [...state, '--create-ek-cert', '--lock-nvram', '--vmid', 'device-1'], { stdio: 'pipe' });
}

/** Resolves when the TPM listens. */
async function appeared(child: ChildProcess, dir: string, socket: string): Promise<void> {
  const watcher = watch(dir);
  try {
    const ended = once(child, 'exit').then(() => {
      throw new Error('swtpm ended before it listened');
    });
    ended.catch(() => {});
    while (!existsSync(socket)) await Promise.race([once(watcher, 'change'), ended]);
  } finally {
    watcher.close();
  }
}

function derOf(pemFile: string): Buffer {
  const base64 = readFileSync(pemFile, 'utf8').replace(/-----[^-]+-----|\s/g, '');
  return Buffer.from(base64, 'base64');
}
