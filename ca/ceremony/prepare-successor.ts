import { access, mkdir, readFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { formatEncryptedKey } from '#ca/keys/encrypted-key.ts';
import { readDer } from '#ca/pkix/der.ts';
import { readText } from '#ca/pkix/der-values.ts';
import { parseName } from '#ca/pkix/name.ts';
import { OID } from '#ca/pkix/oids.ts';
import { formatPem } from '#ca/pkix/pem.ts';
import { AuthorityError } from '#ca/ports/certificate-authority.ts';
import { readAuthorityFolder } from './authority-folder.ts';
import { AUTHORITY_FILES } from './ceremony-files.ts';
import { type CaGenerationFolder, CROSS_FILES, generationFolder } from './generation-folders.ts';
import {
  type CaYears,
  certifyAcross,
  choosePassphrase,
  type IntermediateAlgorithm,
  type KeyedCa,
  lives,
  makeIntermediate,
  makeRoot,
} from './make-ca.ts';
import { openRootKey, type RootKeyFiles } from './open-root-key.ts';
import { formatFirstRootCrl } from './sign-root-crl.ts';
import { buildFolder, writeNewFile } from './staging-folder.ts';

export type SuccessorOptions = CaYears &
  RootKeyFiles & {
    /** A new root, too; else the next intermediate is of the root in use. */
    root?: boolean;
    /** Key of the intermediate; default ec-p256. */
    algorithm?: IntermediateAlgorithm;
    /** File with the passphrase for the new intermediate key; left out: one is made, in the folder. */
    passphraseFile?: string;
    /** The same for a new root key. */
    newRootPassphraseFile?: string;
    /** Milliseconds UTC; default now. */
    now?: number;
  };

export type Successor = {
  number: number;
  dir: string;
  /** Subject key id of the new intermediate, lower-case hexadecimal. */
  keyId: string;
  intermediateSha256: string;
  rootSha256: string;
  isNewRoot: boolean;
};

/**
 * Makes the next intermediate, or the next root with the certificates that link it to the one before (RFC 9810 4.4) and
 * an intermediate below it, as a generation beside the others: there whole or not at all. Nothing is used before it is
 * activated. The authority may run meanwhile.
 * @param dir of the authority
 * @throws AuthorityError AUTHORITY_FAILED when one that was prepared before is not in use yet, or the root key is not at hand
 */
export async function prepareSuccessor(dir: string, options: SuccessorOptions = {}): Promise<Successor> {
  const { algorithm = 'ec-p256', now = Date.now() } = options;
  const life = lives(now, options);
  const place = resolve(dir);
  const { generations, intermediate: issuing } = await readAuthorityFolder(place);
  const before = lastOf(generations);
  if (before.intermediate.sha256 !== issuing.sha256) {
    throw new AuthorityError(
      'AUTHORITY_FAILED',
      `generation ${before.number} is prepared and not in use yet: activate it first, or give it up with "gatehouse ca rollover discard"`,
    );
  }
  const oldRoot = await openRootKey(place, before, options);
  const organization = organizationOf(oldRoot);
  const passphrase = await choosePassphrase(await passphraseFileFor(place, options));
  const rootPassphrase = options.root === true ? await choosePassphrase(options.newRootPassphraseFile) : undefined;
  const root = options.root === true ? await makeRoot(organization, life.root) : oldRoot;
  const intermediate = await makeIntermediate(organization, algorithm, root, life.intermediate);

  await keepFirst(place, generations);
  const number = before.number + 1;
  const target = generationFolder(place, number);
  await buildFolder(target, async (staging) => {
    const write = (name: string, content: string | Uint8Array, mode: 0o600 | 0o644) =>
      writeNewFile(join(staging, name), content, mode);
    const writeCertificate = (name: string, { der }: KeyedCa['certificate']) =>
      write(name, formatPem('CERTIFICATE', der), 0o644);
    await writeCertificate(AUTHORITY_FILES.rootCertificate, root.certificate);
    await writeCertificate(AUTHORITY_FILES.intermediateCertificate, intermediate.certificate);
    const key = await formatEncryptedKey(intermediate.privateKey, passphrase.text);
    await write(AUTHORITY_FILES.intermediateKey, key, 0o600);
    if (passphrase.isMade) await write(AUTHORITY_FILES.passphrase, `${passphrase.text}\n`, 0o600);
    if (rootPassphrase === undefined) return;
    const rootKey = await formatEncryptedKey(root.privateKey, rootPassphrase.text);
    await write(AUTHORITY_FILES.rootKey, rootKey, 0o600);
    if (rootPassphrase.isMade) await write(AUTHORITY_FILES.rootPassphrase, `${rootPassphrase.text}\n`, 0o600);
    // While its key is at hand: programs that check every certificate of a chain need it from the first one on.
    await write(AUTHORITY_FILES.rootCrl, formatFirstRootCrl(root, now), 0o644);
    const { newWithOld, oldWithNew } = linkRoots(oldRoot, root);
    await writeCertificate(CROSS_FILES.newWithOld, newWithOld);
    await writeCertificate(CROSS_FILES.oldWithNew, oldWithNew);
  });
  return {
    number,
    dir: target,
    keyId: intermediate.certificate.subjectKeyId ?? '',
    intermediateSha256: intermediate.certificate.sha256,
    rootSha256: root.certificate.sha256,
    isNewRoot: rootPassphrase !== undefined,
  };
}

/** RFC 9810 4.4.1: NewWithOld lasts from the new key's start to the old key's end, OldWithNew as long as the old key. */
function linkRoots(oldRoot: KeyedCa, newRoot: KeyedCa) {
  const [{ certificate: old }, { certificate: fresh }] = [oldRoot, newRoot];
  const newWithOld = { notBefore: fresh.notBefore, notAfter: Math.min(old.notAfter, fresh.notAfter) };
  return {
    newWithOld: certifyAcross(fresh, oldRoot, newWithOld),
    oldWithNew: certifyAcross(old, newRoot, { notBefore: old.notBefore, notAfter: old.notAfter }),
  };
}

/** Up to now the authority's folder was the first generation: from now on it is one among the others. */
async function keepFirst(dir: string, generations: readonly CaGenerationFolder[]): Promise<void> {
  const target = generationFolder(dir, 1);
  await mkdir(dirname(target), { recursive: true, mode: 0o700 });
  if (generations[0]?.dir !== dir) return;
  const { rootCertificate, intermediateCertificate, intermediateKey } = AUTHORITY_FILES;
  await buildFolder(target, async (staging) => {
    for (const name of [rootCertificate, intermediateCertificate])
      await writeNewFile(join(staging, name), await readFile(join(dir, name), 'utf8'), 0o644);
    // A key elsewhere than in a file has nothing to be copied.
    const key = await readFile(join(dir, intermediateKey), 'utf8').catch(() => undefined);
    if (key !== undefined) await writeNewFile(join(staging, intermediateKey), key, 0o600);
  });
}

/**
 * Where the operator has moved the passphrase away from the keys, none is put beside a key again without a word.
 * @throws AuthorityError AUTHORITY_FAILED
 */
async function passphraseFileFor(dir: string, { passphraseFile }: SuccessorOptions): Promise<string | undefined> {
  if (passphraseFile !== undefined) return passphraseFile;
  const isBesideKey = await access(join(dir, AUTHORITY_FILES.passphrase)).then(
    () => true,
    () => false,
  );
  if (isBesideKey) return undefined;
  throw new AuthorityError(
    'AUTHORITY_FAILED',
    'the passphrase of the issuing key is not in the folder: name the file that holds it with --passphrase-file, and the new key opens with it, too',
  );
}

function organizationOf({ certificate }: KeyedCa): string {
  const attributes = parseName(readDer(certificate.subject), 'the root').flat();
  const found = attributes.find(({ type }) => type === OID.organizationName);
  return (found && readText(found.value, 'the organization')) ?? 'Gatehouse';
}

function lastOf(generations: readonly CaGenerationFolder[]): CaGenerationFolder {
  const last = generations.at(-1);
  if (last === undefined) throw new AuthorityError('AUTHORITY_FAILED', 'there is no authority');
  return last;
}
