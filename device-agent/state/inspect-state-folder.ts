import { lstat, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { LAYOUT } from './state-layout.ts';

export type FolderFinding = { ok: boolean; what: string; advice?: string };

/** Who may read the secrets: the folder and the keys belong to this user and to nobody else. */
export async function inspectStateFolder(folder: string): Promise<FolderFinding[]> {
  const findings: FolderFinding[] = [];
  const own = process.getuid?.();
  const info = await stat(folder).catch(() => undefined);
  if (!info?.isDirectory())
    return [{ ok: false, what: 'the state folder is missing', advice: 'enroll, or give the right --state' }];
  if (own !== undefined && info.uid !== own) {
    findings.push({
      ok: false,
      what: 'the state folder belongs to another user',
      advice: `chown -R it to user id ${own}`,
    });
  }
  findings.push(
    (info.mode & 0o077) === 0
      ? { ok: true, what: 'the state folder is closed to others' }
      : {
          ok: false,
          what: `others may enter the state folder (mode ${octal(info.mode)})`,
          advice: `chmod 700 ${folder}`,
        },
  );
  const link = await lstat(join(folder, LAYOUT.current)).catch(() => undefined);
  if (link && !link.isSymbolicLink()) {
    findings.push({
      ok: false,
      what: '`current` is not a symlink',
      advice: 'restore the state folder as a whole (tar, not cp -L)',
    });
  }
  const key = await stat(join(folder, LAYOUT.current, LAYOUT.key)).catch(() => undefined);
  if (key) {
    findings.push(
      (key.mode & 0o077) === 0
        ? { ok: true, what: 'the private key is closed to others' }
        : {
            ok: false,
            what: `others may read the private key (mode ${octal(key.mode)})`,
            advice: 'chmod 600 current/key.pem, then renew',
          },
    );
  }
  return findings;
}

function octal(mode: number): string {
  return (mode & 0o777).toString(8).padStart(3, '0');
}
