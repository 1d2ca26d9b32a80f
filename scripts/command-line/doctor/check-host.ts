import { execFile } from 'node:child_process';
import { statfs } from 'node:fs/promises';
import { promisify } from 'node:util';
import type { HealthCheck } from '#gateway/contract/operator-api.ts';

const MIB = 2 ** 20;
/** The database and the journal must be able to grow; a full disk stops issuing. */
const LEAST_FREE = 500 * MIB;

/** Versions, clock and disk of this host. */
export async function checkHost(dataDir: string, version: string): Promise<HealthCheck[]> {
  return [versionCheck(version), await clockCheck(), await diskCheck(dataDir)];
}

function versionCheck(version: string): HealthCheck {
  const ok = Number.parseInt(process.versions.node, 10) >= 24;
  return {
    name: 'versions',
    ok,
    detail: `gatehouse ${version}, Node ${process.versions.node}, OpenSSL ${process.versions.openssl}`,
    ...(ok ? {} : { advice: 'start through `npx gatehouse`, which brings Node 24' }),
  };
}

/** A wrong clock makes certificates that are not good yet, or no more. */
async function clockCheck(): Promise<HealthCheck> {
  const name = 'clock';
  const year = new Date().getFullYear();
  if (year < 2025) {
    return { name, ok: false, detail: `it is the year ${year} here`, advice: 'set the clock, or let NTP set it' };
  }
  try {
    const { stdout } = await promisify(execFile)('timedatectl', ['show', '-p', 'NTPSynchronized', '--value'], {
      timeout: 3000,
    });
    if (stdout.trim() === 'no') {
      return { name, ok: false, detail: 'not synchronised', advice: 'switch NTP on: timedatectl set-ntp true' };
    }
    if (stdout.trim() === 'yes') return { name, ok: true, detail: 'synchronised by NTP' };
  } catch {
    // No systemd here: a container takes the clock of its host.
  }
  return { name, ok: true, detail: `${new Date().toISOString()} (this host does not say whether NTP keeps it)` };
}

async function diskCheck(dataDir: string): Promise<HealthCheck> {
  const name = 'disk space';
  try {
    const { bavail, bsize } = await statfs(dataDir);
    const free = bavail * bsize;
    const detail = `${Math.floor(free / MIB)} MiB free for ${dataDir}`;
    return free >= LEAST_FREE
      ? { name, ok: true, detail }
      : { name, ok: false, detail, advice: 'make room: a full disk stops issuing and revoking' };
  } catch {
    return { name, ok: false, detail: `${dataDir} cannot be measured`, advice: 'check that the folder is mounted' };
  }
}
