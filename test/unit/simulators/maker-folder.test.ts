import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parseCertificate } from '#ca/pkix/certificate.ts';
import { OID } from '#ca/pkix/oids.ts';
import { validatePath } from '#ca/pkix/path.ts';
import { openMakerFolder } from '#simulators/tpm/maker-folder.ts';
import { createSimulatedTpm } from '#simulators/tpm/simulated-tpm.ts';

describe('the folder of a simulated maker', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'maker-'));
  });
  afterEach(() => rm(folder, { recursive: true }));

  test('makes the next run one of the same maker: what was pinned still vouches for its TPMs', async () => {
    const first = await openMakerFolder(join(folder, 'm'));
    const { maker, rootFile } = await openMakerFolder(join(folder, 'm'));
    expect(maker.rootCertificate).toEqual(first.maker.rootCertificate);
    expect(rootFile).toBe(join(folder, 'm', 'root.pem'));
    const path = validatePath(parseCertificate(createSimulatedTpm(maker).ekCertificate), {
      anchors: [parseCertificate(first.maker.rootCertificate)],
      intermediates: [parseCertificate(maker.issuerCertificate)],
      at: Date.now(),
      extendedKeyUsage: OID.ekCertificate,
    });
    expect(path).toHaveLength(3);
  });

  test('keeps the key of the issuer from others, and that of the root from everybody', async () => {
    await openMakerFolder(join(folder, 'm'));
    expect((await readdir(join(folder, 'm'))).toSorted()).toEqual(['issuer.key.pem', 'issuer.pem', 'root.pem']);
    expect((await stat(join(folder, 'm'))).mode & 0o777).toBe(0o700);
    expect((await stat(join(folder, 'm', 'issuer.key.pem'))).mode & 0o777).toBe(0o600);
  });

  test('is not used when it holds something else', async () => {
    await writeFile(join(folder, 'issuer.key.pem'), 'no key');
    await expect(openMakerFolder(folder)).rejects.toMatchObject({ code: 'MAKER_BROKEN' });
  });
});
