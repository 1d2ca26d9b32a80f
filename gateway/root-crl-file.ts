import { readFile, stat } from 'node:fs/promises';
import { parseCertificate } from '#ca/pkix/certificate.ts';
import { readRootCrl } from '#gateway/operations/read-root-crl.ts';
import type { Log } from '#gateway/ports/log.ts';
import type { RootCrl } from './validation/status-deps.ts';

/**
 * The root's CRL from its file (`gatehouse ca crl`), read again when that has changed.
 * @param roots DER of the roots in use
 * @returns undefined when there is none, or not one of a root of ours, which is logged once
 */
export function rootCrlFile(
  path: string,
  roots: () => readonly Buffer[],
  log: Log,
): () => Promise<RootCrl | undefined> {
  let read: { changedAt: number; crl: RootCrl | undefined } | undefined;
  return async () => {
    const found = await stat(path).catch(() => undefined);
    if (found === undefined) return undefined;
    if (read?.changedAt === found.mtimeMs) return read.crl;
    const der = await readFile(path);
    const crl = roots()
      .map((root) => readRootCrl(der, parseCertificate(root)))
      .find((one) => one !== undefined);
    if (crl === undefined) log.warn('not a CRL of our root, not served', { path });
    read = { changedAt: found.mtimeMs, crl: crl && { der, ...crl } };
    return read.crl;
  };
}
