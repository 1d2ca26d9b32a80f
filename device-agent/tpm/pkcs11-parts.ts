import { constants } from 'node:crypto';
import { access, constants as mode } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { findLibrary } from './library-folders.ts';
import { TpmError } from './tpm-error.ts';
import { hasResourceManager } from './tpm-workbench.ts';

/** What TLS needs to use a key in the TPM by PKCS#11, where OpenSSL has no provider for it. Absolute paths. */
export type Pkcs11Parts = {
  /** OpenSSL's engine for PKCS#11 modules, of libp11; named `pkcs11.so`, as OpenSSL looks for it. */
  engine: string;
  /** The PKCS#11 module of tpm2-pkcs11. */
  module: string;
};

export type MissingPart = { what: string; advice: string };

/** @returns the parts, or everything that is missing. @param tcti how the TPM is reached. */
export async function findPkcs11Parts(tcti: string): Promise<Pkcs11Parts | MissingPart[]> {
  const engine = await findLibrary('engines-3/pkcs11.so');
  const module = await findLibrary('pkcs11/libtpm2_pkcs11.so', 'libtpm2_pkcs11.so', 'libtpm2_pkcs11.so.1');
  const missing: MissingPart[] = [];
  // OpenSSL 4 has no engines any more; a Node may also be built without them.
  if (constants.ENGINE_METHOD_ALL === undefined)
    missing.push({ what: 'this Node has an OpenSSL without engines', advice: 'use Node 24 as nodejs.org builds it' });
  if (engine === undefined) missing.push(notInstalled('the PKCS#11 engine of OpenSSL', 'libengine-pkcs11-openssl'));
  if (module === undefined) missing.push(notInstalled('the PKCS#11 module for TPMs', 'libtpm2-pkcs11-1'));
  if (!(await isOnPath('tpm2_ptool'))) missing.push(notInstalled('the program tpm2_ptool', 'libtpm2-pkcs11-tools'));
  if (!hasResourceManager(tcti)) {
    missing.push({
      what: `no resource manager stands before the TPM at ${tcti}, and tpm2-pkcs11 needs one`,
      advice: 'reach it by device:/dev/tpmrm0, or install tpm2-abrmd and use --tcti tabrmd',
    });
  }
  return engine === undefined || module === undefined || missing.length > 0 ? missing : { engine, module };
}

/** @throws TpmError PROVIDER_UNFIT, with everything that is missing and how to install it */
export function requireParts(found: Pkcs11Parts | MissingPart[]): Pkcs11Parts {
  if (!Array.isArray(found)) return found;
  throw new TpmError('PROVIDER_UNFIT', `PKCS#11 cannot be used: ${found.map(({ what }) => what).join(', ')}`, {
    advice: found.map(({ advice }) => advice).join('; '),
  });
}

function notInstalled(what: string, debianPackage: string): MissingPart {
  return { what: `${what} is not installed`, advice: `Debian: apt-get install ${debianPackage}` };
}

async function isOnPath(program: string): Promise<boolean> {
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    const isThere = await access(join(folder, program), mode.X_OK).then(
      () => true,
      () => false,
    );
    if (isThere) return true;
  }
  return false;
}
