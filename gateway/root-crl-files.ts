import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { parseCertificate } from '#ca/pkix/certificate.ts';
import { readRootCrl } from '#gateway/operations/read-root-crl.ts';
import type { Log } from '#gateway/ports/log.ts';
import type { RootCrl } from './validation/status-deps.ts';

type Read = { changedAt: number; der: Buffer };

/** Of an authority's folder that lies here: a root that came later has its list in the folder of its generation. */
const GENERATIONS = 'generations';

/**
 * The CRLs of the roots from their files (`gatehouse ca crl`), read again when one has changed.
 * @param path of the first one @param roots DER of the roots in use, that of the issuing CA first
 * @returns one for each of these roots that has one, in their order. A file that is none of them is logged once.
 */
export function rootCrlFiles(path: string, roots: () => readonly Buffer[], log: Log): () => Promise<RootCrl[]> {
  const files = new Map<string, Read>();
  return async () => {
    for (const place of await listPlaces(path)) {
      const found = await stat(place).catch(() => undefined);
      if (found === undefined) files.delete(place);
      else if (files.get(place)?.changedAt !== found.mtimeMs) {
        const der = await readFile(place);
        files.set(place, { changedAt: found.mtimeMs, der });
        if (newestOf([der], roots().map(parse)) === undefined)
          log.warn('not a CRL of a root of ours, not served', { path: place });
      }
    }
    const ders = [...files.values()].map(({ der }) => der);
    return roots().flatMap((root) => newestOf(ders, [parse(root)]) ?? []);
  };
}

function parse(der: Buffer) {
  return parseCertificate(der);
}

async function listPlaces(path: string): Promise<string[]> {
  const folder = join(dirname(path), GENERATIONS);
  const numbers = await readdir(folder).catch(() => []);
  return [path, ...numbers.filter((name) => /^\d+$/.test(name)).map((name) => join(folder, name, basename(path)))];
}

/** A version of before has put the lists of all roots in one place. */
function newestOf(ders: readonly Buffer[], roots: readonly ReturnType<typeof parse>[]): RootCrl | undefined {
  const lists = ders.flatMap((der) =>
    roots.flatMap((root) => {
      const crl = readRootCrl(der, root);
      return crl === undefined ? [] : { ...crl, der, keyId: root.subjectKeyId ?? '' };
    }),
  );
  return lists.toSorted((a, b) => b.number - a.number)[0];
}
