import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { STATUS_PATHS } from '#gateway/contract/status-paths.ts';
import type { DemoStage } from './demo-stage.ts';
import { expect } from './expectation.ts';
import { runCommand } from './run-command.ts';

/**
 * Fetches the CRL as any relying party would, and lets openssl judge its signature and read its list.
 * @returns the serials on it, lower case
 */
export async function fetchRevokedSerials(stage: DemoStage): Promise<string[]> {
  const response = await fetch(new URL(STATUS_PATHS.crl, stage.ready.status.url));
  expect(response.status === 200, 'the CRL to be served', `HTTP ${response.status}`);
  const file = join(stage.folder, 'intermediate.crl');
  await writeFile(file, Buffer.from(await response.arrayBuffer()));
  const issuer = join(stage.dataDir, 'ca', 'intermediate.pem');
  const source = ['crl', '-inform', 'DER', '-in', file, '-noout'];
  const verified = await openssl([...source, '-verify', '-CAfile', issuer]);
  expect(/verify OK/.test(verified), 'openssl to accept the signature of the CRL', verified.trim());
  const text = await openssl([...source, '-text']);
  return [...text.matchAll(/Serial Number:\s*([0-9A-F]+)/g)].map(([, serial = '']) => serial.toLowerCase());
}

async function openssl(args: readonly string[]): Promise<string> {
  try {
    const { stdout, stderr } = await runCommand('openssl', args);
    return stdout + stderr;
  } catch (cause) {
    throw new Error('openssl cannot be started; install it (Debian: apt-get install openssl)', { cause });
  }
}
