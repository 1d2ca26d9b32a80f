import { createCipheriv, createPrivateKey, type KeyObject, randomBytes, scrypt } from 'node:crypto';
import { promisify } from 'node:util';
import { integer, octetString, oid, sequence } from '#ca/pkix/der.ts';
import { OID } from '#ca/pkix/oids.ts';
import { formatPem } from '#ca/pkix/pem.ts';
import { AuthorityError } from '#ca/ports/certificate-authority.ts';

/** 16 MiB a try, five times over. OpenSSL reads no more than 32 MiB, and 2^15 needs a little above that. */
const SCRYPT = { cost: 2 ** 14, blockSize: 8, parallelization: 5 } as const;
const KEY_OCTETS = 32;

const deriveKey = promisify<string, Buffer, number, object, Buffer>(scrypt);

/**
 * PKCS#8 EncryptedPrivateKeyInfo (RFC 5958 3) in PBES2 with scrypt (RFC 7914 7) and AES-256-CBC, as PEM.
 * `openssl pkey` and node:crypto read it.
 */
export async function formatEncryptedKey(privateKey: KeyObject, passphrase: string): Promise<string> {
  const salt = randomBytes(16);
  const iv = randomBytes(16);
  const key = await deriveKey(passphrase, salt, KEY_OCTETS, { ...SCRYPT, maxmem: 64 * 1024 * 1024 });
  const cipher = createCipheriv('aes-256-cbc', key, iv);
  const plain = privateKey.export({ type: 'pkcs8', format: 'der' });
  const encrypted = Buffer.concat([cipher.update(plain), cipher.final()]);
  plain.fill(0);
  key.fill(0);
  const { cost, blockSize, parallelization } = SCRYPT;
  const parameters = sequence(
    octetString(salt),
    integer(cost),
    integer(blockSize),
    integer(parallelization),
    integer(KEY_OCTETS),
  );
  const algorithm = sequence(
    oid(OID.pbes2),
    sequence(sequence(oid(OID.scrypt), parameters), sequence(oid(OID.aes256Cbc), octetString(iv))),
  );
  return formatPem('ENCRYPTED PRIVATE KEY', sequence(algorithm, octetString(encrypted)));
}

/** @throws AuthorityError AUTHORITY_FAILED when the passphrase is wrong or the file no encrypted key */
export function parseEncryptedKey(pem: string, passphrase: string): KeyObject {
  if (!pem.includes('-----BEGIN ENCRYPTED PRIVATE KEY-----')) {
    throw new AuthorityError(
      'AUTHORITY_FAILED',
      'the key file holds no encrypted private key; CA keys are never read in the clear',
    );
  }
  try {
    return createPrivateKey({ key: pem, format: 'pem', passphrase });
  } catch (cause) {
    throw new AuthorityError('AUTHORITY_FAILED', 'the private key does not open: wrong passphrase, or a damaged file', {
      cause,
    });
  }
}
