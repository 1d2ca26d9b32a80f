import { generateKeyPair, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';
import { createPassphrase, readPassphrase } from '#ca/keys/passphrase.ts';
import { type Certificate, parseCertificate } from '#ca/pkix/certificate.ts';
import { classifyPublicKey, keyIdentifier } from '#ca/pkix/public-key.ts';
import { signatureAlgorithmFor } from '#ca/pkix/signature-algorithm.ts';
import { AuthorityError } from '#ca/ports/certificate-authority.ts';
import { caName, formatCaCertificate, publicKeyOf } from './ca-certificate.ts';

export const INTERMEDIATE_ALGORITHMS = ['ec-p256', 'ec-p384', 'ed25519', 'rsa-3072'] as const;
export type IntermediateAlgorithm = (typeof INTERMEDIATE_ALGORITHMS)[number];

/** A CA with the key it signs with. */
export type KeyedCa = { certificate: Certificate; privateKey: KeyObject };

/** Milliseconds UTC. */
export type CaLife = { now: number; notAfter: number };

const YEAR = 365.25 * 24 * 60 * 60 * 1000;
/** Fresh certificates must not look like the future to a device whose clock is a little slow. */
const SET_BACK = 60 * 60 * 1000;

/** Self-signed, P-384. */
export async function makeRoot(organization: string, { now, notAfter }: CaLife): Promise<KeyedCa> {
  const privateKey = await generateKey('ec-p384');
  const publicKey = publicKeyOf(privateKey);
  const name = caName(organization, 'Root', publicKey);
  const der = formatCaCertificate({
    subject: name,
    publicKey,
    notBefore: now - SET_BACK,
    notAfter,
    issuer: { name, privateKey, algorithm: signatureAlgorithmFor('ec-p384') },
  });
  return { certificate: parseCertificate(der), privateKey };
}

/** Path length 0; ends with its root at the latest. */
export async function makeIntermediate(
  organization: string,
  algorithm: IntermediateAlgorithm,
  root: KeyedCa,
  { now, notAfter }: CaLife,
): Promise<KeyedCa> {
  const privateKey = await generateKey(algorithm);
  const publicKey = publicKeyOf(privateKey);
  const der = formatCaCertificate({
    subject: caName(organization, 'Issuing', publicKey),
    publicKey,
    pathLength: 0,
    notBefore: now - SET_BACK,
    notAfter: Math.min(notAfter, root.certificate.notAfter),
    ...issuedBy(root),
  });
  return { certificate: parseCertificate(der), privateKey };
}

/**
 * The key of one root, certified by another (RFC 9810 4.4): with NewWithOld those who know only the old root find the
 * way to what the new one certifies, with OldWithNew the other way about.
 * @param life notBefore and notAfter, milliseconds UTC
 */
export function certifyAcross(
  subject: Certificate,
  by: KeyedCa,
  life: { notBefore: number; notAfter: number },
): Certificate {
  const { subject: name, publicKey } = subject;
  return parseCertificate(formatCaCertificate({ subject: name, publicKey, ...life, ...issuedBy(by) }));
}

function issuedBy({ certificate, privateKey }: KeyedCa) {
  const { subject, publicKey, subjectKeyId } = certificate;
  const { kind, description } = classifyPublicKey(publicKey);
  if (kind === undefined) throw new AuthorityError('AUTHORITY_FAILED', `a CA key cannot be ${description}`);
  return {
    issuer: { name: subject, privateKey, algorithm: signatureAlgorithmFor(kind) },
    authorityKeyId: subjectKeyId === undefined ? keyIdentifier(publicKey) : Buffer.from(subjectKeyId, 'hex'),
  };
}

/** @param years of a root and of an intermediate; default 20 and 10 */
export function lives(
  now: number,
  { rootYears = 20, intermediateYears = 10 }: CaYears,
): Record<'root' | 'intermediate', CaLife> {
  if (!(rootYears > 0 && rootYears <= 50)) throw new AuthorityError('AUTHORITY_FAILED', 'a root lives up to 50 years');
  if (!(intermediateYears > 0 && intermediateYears <= rootYears))
    throw new AuthorityError('AUTHORITY_FAILED', 'an intermediate lives no longer than its root');
  return {
    root: { now, notAfter: now + rootYears * YEAR },
    intermediate: { now, notAfter: now + intermediateYears * YEAR },
  };
}

export type CaYears = {
  /** Default 20. */
  rootYears?: number;
  /** Default 10; cut at the root's end. */
  intermediateYears?: number;
};

/** Of the file; without one it is made, and has to be written beside the key. */
export async function choosePassphrase(file: string | undefined): Promise<{ text: string; isMade: boolean }> {
  if (file === undefined) return { text: createPassphrase(), isMade: true };
  return { text: await readPassphrase({ path: file, isCredential: false }), isMade: false };
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
