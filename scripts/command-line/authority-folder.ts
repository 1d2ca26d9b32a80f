import { join } from 'node:path';
import { describeAuthorityFolder, exportCertificates } from '#ca/ceremony/describe-authority.ts';
import { DATA_FOLDER } from '#gateway/contract/data-folder.ts';
import type { CaDescription } from '#gateway/contract/operator-api.ts';
import { CommandError } from './command-error.ts';

/** Root and intermediate as they lie on disk; the CRL is known to the gateway only. @throws CommandError */
export async function readAuthority(dataDir: string): Promise<CaDescription> {
  const { trustDomain, root, intermediate } = await orAdvice(describeAuthorityFolder(join(dataDir, DATA_FOLDER.ca)));
  return { trustDomain, root, intermediate, crl: null };
}

/** PEM; `chain` is the intermediate, then the root. @throws CommandError */
export async function readAuthorityPem(dataDir: string, what: 'root' | 'intermediate' | 'chain'): Promise<string> {
  return orAdvice(exportCertificates(join(dataDir, DATA_FOLDER.ca), what));
}

async function orAdvice<T>(reading: Promise<T>): Promise<T> {
  try {
    return await reading;
  } catch (cause) {
    throw new CommandError('FAILED', cause instanceof Error ? cause.message : String(cause), {
      cause,
      advice: 'make an authority with: gatehouse ca init   (or by a first start: gatehouse serve)',
    });
  }
}
