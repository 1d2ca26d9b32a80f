import { chmod, mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runTpmTool } from './run-tpm-tool.ts';
import { STORAGE_KEY } from './storage-key.ts';
import { TpmError } from './tpm-error.ts';

/**
 * tpm2_ptool seals the secret of a token without `noda`, and every start of an agent unseals it: three power cuts after
 * that and the TPM refuses the PIN as if somebody had been guessing it, and with the PIN the key. So the program that
 * it makes its objects with is, while it does that, this one, which asks for the same objects with `noda`.
 */
const EXEMPTING_CREATE = `#!/bin/sh
case " $* " in
*' -i '*) attributes='fixedtpm|fixedparent|userwithauth|noda' ;;
*) attributes='fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|sign|decrypt' ;;
esac
PATH=\${PATH#*:} exec tpm2_create "$@" -a "$attributes"
`;

const NODA = 1 << 10;

/**
 * A new store of tpm2-pkcs11 in an empty folder, on the storage key of this device, with one token in it that is exempt
 * from the lockout of the TPM. @throws TpmError
 */
export async function makeExemptToken(token: {
  /** Absolute path. */
  folder: string;
  tcti: string;
  label: string;
  pin: string;
  timeoutMs: number;
}): Promise<void> {
  const { folder, tcti, label, pin, timeoutMs } = token;
  const run = (args: string[], environment: Record<string, string> = {}) =>
    runTpmTool({ tool: 'tpm2_ptool', args, tcti, folder, timeoutMs, environment });
  await run(['init', '--path', folder, `--primary-handle=${STORAGE_KEY}`]);
  const programs = join(folder, 'programs');
  await mkdir(programs, { mode: 0o700 });
  try {
    await writeFile(join(programs, 'tpm2_create'), EXEMPTING_CREATE, { mode: 0o700 });
    await chmod(join(programs, 'tpm2_create'), 0o700);
    const environment = { PATH: `${programs}:${process.env['PATH'] ?? ''}` };
    // The PIN of the security officer, who can give a token a new user PIN: nobody needs one, for a new token is as good.
    await run(
      ['addtoken', '--path', folder, '--pid=1', `--label=${label}`, `--userpin=${pin}`, `--sopin=${pin}`],
      environment,
    );
  } finally {
    await rm(programs, { recursive: true, force: true });
  }
  if (await isExempt(folder)) return;
  throw new TpmError('FAILED', 'the token of tpm2-pkcs11 is not exempt from the lockout of the TPM', {
    advice: 'the state folder has to be on a file system that lets programs run (without the mount option noexec)',
  });
}

/** Whether the sealed secret of the token has `noda`: after size, type and hash of its TPM2B_PUBLIC come the attributes. */
async function isExempt(folder: string): Promise<boolean> {
  const { DatabaseSync } = await import('node:sqlite');
  const database = new DatabaseSync(join(folder, 'tpm2_pkcs11.sqlite3'), { readOnly: true });
  try {
    const { userpub } = database.prepare('SELECT userpub FROM sealobjects').get() ?? {};
    return userpub instanceof Uint8Array && (Buffer.from(userpub).readUInt32BE(6) & NODA) !== 0;
  } finally {
    database.close();
  }
}
