import { createPrivateKey } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { formatPem, parsePem } from '#ca/pkix/pem.ts';
import { SimulatorError } from '#simulators/simulator-error.ts';
import { createSimulatedMaker, resumeSimulatedMaker, type SimulatedMaker } from './simulated-maker.ts';

const FILES = { root: 'root.pem', issuer: 'issuer.pem', issuerKey: 'issuer.key.pem' } as const;

/** A maker that is the same in the next run, and the file with its root for `gatehouse tpm root add`. */
export type KeptMaker = { maker: SimulatedMaker; rootFile: string };

/** Made where there is none. @throws SimulatorError MAKER_BROKEN */
export async function openMakerFolder(folder: string): Promise<KeptMaker> {
  const paths = {
    rootFile: join(folder, FILES.root),
    issuer: join(folder, FILES.issuer),
    issuerKey: join(folder, FILES.issuerKey),
  };
  try {
    // The key is written last: with it the folder is complete.
    const key = await readFile(paths.issuerKey, 'utf8').catch(() => undefined);
    if (key === undefined) {
      const maker = createSimulatedMaker();
      await mkdir(folder, { recursive: true, mode: 0o700 });
      await writeFile(paths.rootFile, formatPem('CERTIFICATE', maker.rootCertificate));
      await writeFile(paths.issuer, formatPem('CERTIFICATE', maker.issuerCertificate));
      await writeFile(paths.issuerKey, maker.issuerKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
      return { maker, rootFile: paths.rootFile };
    }
    const maker = resumeSimulatedMaker({
      rootCertificate: await readCertificate(paths.rootFile),
      issuerCertificate: await readCertificate(paths.issuer),
      issuerKey: createPrivateKey(key),
    });
    return { maker, rootFile: paths.rootFile };
  } catch (cause) {
    throw new SimulatorError('MAKER_BROKEN', `${folder} cannot be used as the folder of a simulated TPM maker`, {
      cause,
      advice: 'remove it, or name another one with --maker',
    });
  }
}

async function readCertificate(path: string): Promise<Buffer> {
  const [der = Buffer.alloc(0)] = parsePem(await readFile(path, 'utf8'), 'CERTIFICATE');
  return der;
}
