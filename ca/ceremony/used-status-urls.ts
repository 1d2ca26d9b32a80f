import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { baseOf } from '#ca/issuance/issuer.ts';
import { AUTHORITY_FILES, notInOrder } from './ceremony-files.ts';
import { replaceFile } from './staging-folder.ts';

const usedSchema = z.strictObject({
  version: z.literal(1),
  /** Written into certificates now. */
  current: z.string(),
  /** Written into certificates before, newest first. `replacedAt`: milliseconds UTC. */
  former: z.array(z.strictObject({ url: z.string(), replacedAt: z.int() })),
});

type Used = z.infer<typeof usedSchema>;

/** As long as any certificate lives: after that nobody names it. */
const KEPT_MS = 400 * 24 * 3600 * 1000;
/** Each stands in every shard; a machine whose address changes every day is to be given a name. */
const MOST_FORMER = 16;

/**
 * Writes down where the status server is from now on, before a certificate says so: lists of parts of the serials
 * (shards) must go on naming the places that stand in certificates (RFC 5280 5.2.5).
 * @param dir of the authority @param now milliseconds UTC
 * @returns where it was before, as long as a certificate may still say so, newest first
 * @throws AuthorityError AUTHORITY_FAILED when what is there cannot be read
 */
export async function useStatusUrl(dir: string, statusUrl: string, now: number): Promise<string[]> {
  const path = join(dir, AUTHORITY_FILES.statusUrls);
  const current = baseOf(statusUrl);
  const before = await readUsed(path);
  if (before === undefined || before.current !== current) {
    const moved = before === undefined ? [] : [{ url: before.current, replacedAt: now }, ...before.former];
    const former = moved.filter(({ url, replacedAt }) => url !== current && replacedAt > now - KEPT_MS);
    const used: Used = { version: 1, current, former: former.slice(0, MOST_FORMER) };
    await replaceFile(path, `${JSON.stringify(used)}\n`, 0o644);
    return used.former.map(({ url }) => url);
  }
  return before.former.filter(({ replacedAt }) => replacedAt > now - KEPT_MS).map(({ url }) => url);
}

async function readUsed(path: string): Promise<Used | undefined> {
  try {
    return usedSchema.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw notInOrder(path, error);
  }
}
