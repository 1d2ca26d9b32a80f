import { generateKeyPair, type KeyObject } from 'node:crypto';
import { mkdir, readdir } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { isTrustDomain } from '#ca/issuance/subject-names.ts';
import { formatEncryptedKey } from '#ca/keys/encrypted-key.ts';
import { createPassphrase, readPassphrase } from '#ca/keys/passphrase.ts';
import { parseCertificate } from '#ca/pkix/certificate.ts';
import { formatPem } from '#ca/pkix/pem.ts';
import { keyIdentifier } from '#ca/pkix/public-key.ts';
import { signatureAlgorithmFor } from '#ca/pkix/signature-algorithm.ts';
import { AuthorityError } from '#ca/ports/certificate-authority.ts';
import { AUTHORITY_FILES, readAuthorityFolder } from './authority-folder.ts';
import { caName, formatCaCertificate, publicKeyOf } from './ca-certificate.ts';
import { buildFolder, writeNewFile } from './staging-folder.ts';

export const INTERMEDIATE_ALGORITHMS = ['ec-p256', 'ec-p384', 'ed25519', 'rsa-3072'] as const;
type IntermediateAlgorithm = (typeof INTERMEDIATE_ALGORITHMS)[number];

export type CeremonyOptions = {
  /** Stands in the URI of every device certificate; default gatehouse.internal. */
  trustDomain?: string;
  /** Stands in the names of root and intermediate; default Gatehouse. */
  organization?: string;
  /** Key of the intermediate; default ec-p256, which signs about 30 times faster than ec-p384. */
  algorithm?: IntermediateAlgorithm;
  /** Default 20. */
  rootYears?: number;
  /** Default 10; cut at the root's end. */
  intermediateYears?: number;
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

const YEAR = 365.25 * 24 * 60 * 60 * 1000;
/** Fresh certificates must not look like the future to a device whose clock is a little slow. */
const SET_BACK = 60 * 60 * 1000;

/**
 * Makes root (P-384) and intermediate with encrypted keys, in a folder that is there whole or not at all.
 * @param dir must not exist, or be empty
 * @throws AuthorityError AUTHORITY_FAILED when there is an authority already, or an option cannot be
 */
export async function initialiseAuthority(dir: string, options: CeremonyOptions = {}): Promise<CeremonyResult> {
  const { trustDomain = 'gatehouse.internal', organization = 'Gatehouse', algorithm = 'ec-p256' } = options;
  checkOptions(trustDomain, organization, options);
  const place = resolve(dir);
  await refuseExisting(place);
  await mkdir(dirname(place), { recursive: true, mode: 0o700 });
  const passphrase = await choosePassphrase(options.passphraseFile);
  const rootPassphrase = await choosePassphrase(options.rootPassphraseFile);
  const now = options.now ?? Date.now();
  const certificates = await makeCertificates({ organization, algorithm, now, ...options });

  await buildFolder(place, async (staging) => {
    const write = (name: string, content: string, mode: 0o600 | 0o644) =>
      writeNewFile(join(staging, name), content, mode);
    await write(AUTHORITY_FILES.rootCertificate, formatPem('CERTIFICATE', certificates.root), 0o644);
    await write(AUTHORITY_FILES.intermediateCertificate, formatPem('CERTIFICATE', certificates.intermediate), 0o644);
    await write(AUTHORITY_FILES.rootKey, await formatEncryptedKey(certificates.rootKey, rootPassphrase.text), 0o600);
    await write(AUTHORITY_FILES.intermediateKey, await formatEncryptedKey(certificates.key, passphrase.text), 0o600);
    if (passphrase.isMade) await write(AUTHORITY_FILES.passphrase, `${passphrase.text}\n`, 0o600);
    if (rootPassphrase.isMade) await write(AUTHORITY_FILES.rootPassphrase, `${rootPassphrase.text}\n`, 0o600);
    const description = JSON.stringify({ version: 1, trustDomain, createdAt: now }, undefined, 2);
    await write(AUTHORITY_FILES.description, `${description}\n`, 0o644);
    await readAuthorityFolder(staging);
  });
  return {
    dir: place,
    trustDomain,
    rootSha256: parseCertificate(certificates.root).sha256,
    intermediateSha256: parseCertificate(certificates.intermediate).sha256,
    rootPem: join(place, AUTHORITY_FILES.rootCertificate),
    intermediatePem: join(place, AUTHORITY_FILES.intermediateCertificate),
  };
}

function checkOptions(trustDomain: string, organization: string, options: CeremonyOptions): void {
  const { rootYears = 20, intermediateYears = 10 } = options;
  refuseUnless(isTrustDomain(trustDomain), `"${trustDomain}" is not a trust domain: lower-case letters, digits, . - _`);
  refuseUnless(/^\P{Cc}{1,64}$/u.test(organization), 'the organization has 1 to 64 characters');
  refuseUnless(rootYears > 0 && rootYears <= 50, 'a root lives up to 50 years');
  refuseUnless(
    intermediateYears > 0 && intermediateYears <= rootYears,
    'an intermediate lives no longer than its root',
  );
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

async function choosePassphrase(file: string | undefined): Promise<{ text: string; isMade: boolean }> {
  if (file === undefined) return { text: createPassphrase(), isMade: true };
  return { text: await readPassphrase({ path: file, isCredential: false }), isMade: false };
}

type MadeCertificates = { root: Buffer; rootKey: KeyObject; intermediate: Buffer; key: KeyObject };

async function makeCertificates(
  options: CeremonyOptions & { organization: string; algorithm: IntermediateAlgorithm; now: number },
): Promise<MadeCertificates> {
  const { organization, algorithm, now, rootYears = 20, intermediateYears = 10 } = options;
  const notBefore = now - SET_BACK;
  const rootEnd = now + rootYears * YEAR;
  const rootKey = await generateKey('ec-p384');
  const rootPublicKey = publicKeyOf(rootKey);
  const rootName = caName(organization, 'Root', rootPublicKey);
  const issuer = { name: rootName, privateKey: rootKey, algorithm: signatureAlgorithmFor('ec-p384') };
  const root = formatCaCertificate({
    subject: rootName,
    publicKey: rootPublicKey,
    notBefore,
    notAfter: rootEnd,
    issuer,
  });
  const key = await generateKey(algorithm);
  const publicKey = publicKeyOf(key);
  const intermediate = formatCaCertificate({
    subject: caName(organization, 'Issuing', publicKey),
    publicKey,
    pathLength: 0,
    notBefore,
    notAfter: Math.min(now + intermediateYears * YEAR, rootEnd),
    issuer,
    authorityKeyId: keyIdentifier(rootPublicKey),
  });
  return { root, rootKey, intermediate, key };
}

const generate = promisify(generateKeyPair);

async function generateKey(algorithm: IntermediateAlgorithm): Promise<KeyObject> {
  switch (algorithm) {
    case 'ec-p256':
      return (await generate('ec', { namedCurve: 'P-256' })).privateKey;
    case 'ec-p384':
      return (await generate('ec', { namedCurve: 'P-384' })).privateKey;
    case 'ed25519':
      return (await generate('ed25519')).privateKey;
    case 'rsa-3072':
      return (await generate('rsa', { modulusLength: 3072 })).privateKey;
  }
}
