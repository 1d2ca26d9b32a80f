import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { DATA_FOLDER } from '#gateway/contract/data-folder.ts';
import type { HealthCheck } from '#gateway/contract/operator-api.ts';

const OTHERS = 0o077;
/** Names that hold a secret. Certificates may be read by everybody. */
const SECRET = /(key|passphrase|secret|\.db(-wal|-shm)?$|journal)/;

/** The data folder exists, and nobody but its owner can read what is secret in it. */
export async function checkDataFolder(dataDir: string): Promise<HealthCheck[]> {
  const folder = await stat(dataDir).catch(() => undefined);
  if (!folder?.isDirectory()) {
    return [
      {
        name: 'data folder',
        ok: false,
        detail: `${dataDir} does not exist`,
        advice: 'name it with --data or GATEHOUSE_DATA, or make it by a first start: gatehouse serve',
      },
    ];
  }
  return [ownerCheck(dataDir, folder.uid), await modeCheck(dataDir)];
}

function ownerCheck(dataDir: string, owner: number): HealthCheck {
  const me = process.getuid?.() ?? owner;
  const ok = me === 0 || me === owner;
  return {
    name: 'data folder',
    ok,
    detail: ok ? dataDir : `${dataDir} belongs to user ${owner}, this is user ${me}`,
    ...(ok ? {} : { advice: `run gatehouse as user ${owner}` }),
  };
}

async function modeCheck(dataDir: string): Promise<HealthCheck> {
  const open: string[] = [];
  for (const path of await privatePaths(dataDir)) {
    const found = await stat(path).catch(() => undefined);
    if (found && (found.mode & OTHERS) !== 0) open.push(path);
  }
  const name = 'file modes';
  if (open.length === 0) return { name, ok: true, detail: 'keys, database and sockets are closed to other users' };
  return {
    name,
    ok: false,
    detail: `other users can reach ${open.join(', ')}`,
    advice: `close them with: chmod go= ${open.join(' ')}`,
  };
}

async function privatePaths(dataDir: string): Promise<string[]> {
  const folders = [dataDir, ...[DATA_FOLDER.ca, DATA_FOLDER.gatewayKeys, DATA_FOLDER.run].map((f) => join(dataDir, f))];
  const paths = [join(dataDir, DATA_FOLDER.gatewayKeys), join(dataDir, DATA_FOLDER.run)];
  for (const folder of folders) {
    const names = await readdir(folder).catch(() => []);
    paths.push(
      ...names.filter((name) => SECRET.test(name) || name.endsWith('.sock')).map((name) => join(folder, name)),
    );
  }
  return paths;
}
