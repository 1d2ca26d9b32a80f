import { mkdir, readdir } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { isTrustDomain } from '#ca/issuance/subject-names.ts';
import { formatEncryptedKey } from '#ca/keys/encrypted-key.ts';
import { formatPem } from '#ca/pkix/pem.ts';
import { AuthorityError } from '#ca/ports/certificate-authority.ts';
import { readAuthorityFolder } from './authority-folder.ts';
import { AUTHORITY_FILES } from './ceremony-files.ts';
import {
  type CaYears,
  choosePassphrase,
  type IntermediateAlgorithm,
  lives,
  makeIntermediate,
  makeRoot,
} from './make-ca.ts';
import { formatFirstRootCrl } from './sign-root-crl.ts';
import { buildFolder, writeNewFile } from './staging-folder.ts';

export type CeremonyOptions = CaYears & {
  /** Stands in the URI of every device certificate; default gatehouse.internal. */
  trustDomain?: string;
  /** Stands in the names of root and intermediate; default Gatehouse. */
  organization?: string;
  /** Key of the intermediate; default ec-p256, which signs about 30 times faster than ec-p384. */
  algorithm?: IntermediateAlgorithm;
  /** File with the passphrase of the intermediate key; left out: one is made, in the folder. */
  passphraseFile?: string;
  /** The same for the root key. */
  rootPassphraseFile?: string;
  /** Milliseconds UTC; default now. */
  now?: number;
};

export type CeremonyResult = {
  dir: string;
  trustDomain: string;
  /** SHA-256 of the certificate's DER, lower-case hexadecimal: what devices pin. */
  rootSha256: string;
  intermediateSha256: string;
  rootPem: string;
  intermediatePem: string;
};

/**
 * Makes root (P-384) and intermediate with encrypted keys, in a folder that is there whole or not at all.
 * @param dir must not exist, or be empty
 * @throws AuthorityError AUTHORITY_FAILED when there is an authority already, or an option cannot be
 */
export async function initialiseAuthority(dir: string, options: CeremonyOptions = {}): Promise<CeremonyResult> {
  const { trustDomain = 'gatehouse.internal', organization = 'Gatehouse', algorithm = 'ec-p256' } = options;
  checkNames(trustDomain, organization);
  const now = options.now ?? Date.now();
  const { root: rootLife, intermediate: intermediateLife } = lives(now, options);
  const place = resolve(dir);
  await refuseExisting(place);
  await mkdir(dirname(place), { recursive: true, mode: 0o700 });
  const passphrase = await choosePassphrase(options.passphraseFile);
  const rootPassphrase = await choosePassphrase(options.rootPassphraseFile);
  const root = await makeRoot(organization, rootLife);
  const intermediate = await makeIntermediate(organization, algorithm, root, intermediateLife);

  await buildFolder(place, async (staging) => {
    const write = (name: string, content: string | Uint8Array, mode: 0o600 | 0o644) =>
      writeNewFile(join(staging, name), content, mode);
    await write(AUTHORITY_FILES.rootCertificate, formatPem('CERTIFICATE', root.certificate.der), 0o644);
    await write(AUTHORITY_FILES.intermediateCertificate, formatPem('CERTIFICATE', intermediate.certificate.der), 0o644);
    await write(AUTHORITY_FILES.rootKey, await formatEncryptedKey(root.privateKey, rootPassphrase.text), 0o600);
    await write(
      AUTHORITY_FILES.intermediateKey,
      await formatEncryptedKey(intermediate.privateKey, passphrase.text),
      0o600,
    );
    await write(AUTHORITY_FILES.rootCrl, formatFirstRootCrl(root, now), 0o644);
    if (passphrase.isMade) await write(AUTHORITY_FILES.passphrase, `${passphrase.text}\n`, 0o600);
    if (rootPassphrase.isMade) await write(AUTHORITY_FILES.rootPassphrase, `${rootPassphrase.text}\n`, 0o600);
    const description = JSON.stringify({ version: 1, trustDomain, createdAt: now }, undefined, 2);
    await write(AUTHORITY_FILES.description, `${description}\n`, 0o644);
    await readAuthorityFolder(staging);
  });
  return {
    dir: place,
    trustDomain,
    rootSha256: root.certificate.sha256,
    intermediateSha256: intermediate.certificate.sha256,
    rootPem: join(place, AUTHORITY_FILES.rootCertificate),
    intermediatePem: join(place, AUTHORITY_FILES.intermediateCertificate),
  };
}

function checkNames(trustDomain: string, organization: string): void {
  refuseUnless(isTrustDomain(trustDomain), `"${trustDomain}" is not a trust domain: lower-case letters, digits, . - _`);
  refuseUnless(/^\P{Cc}{1,64}$/u.test(organization), 'the organization has 1 to 64 characters');
}

function refuseUnless(holds: boolean, message: string): void {
  if (!holds) throw new AuthorityError('AUTHORITY_FAILED', message);
}

async function refuseExisting(place: string): Promise<void> {
  const names = await readdir(place).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw new AuthorityError('AUTHORITY_FAILED', `${place} cannot be used for an authority`, { cause: error });
  });
  if (names.length > 0) {
    throw new AuthorityError(
      'AUTHORITY_FAILED',
      `${place} is not empty: an authority is made once, and never over another`,
    );
  }
}
