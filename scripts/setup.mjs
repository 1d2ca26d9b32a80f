// Plain JavaScript for any Node >= 20: it runs before anything is installed, so it may use nothing but Node itself.
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { DEBIAN_PACKAGES, installDebianPackages, missingPackages } from '#scripts/set-up/debian-packages.mjs';
import { installNode24, node24Path } from '#scripts/set-up/node-24.mjs';
import { dependenciesAreFresh, installDependencies } from '#scripts/set-up/project-dependencies.mjs';
import { SetUpError } from '#scripts/set-up/set-up-error.mjs';
import { withSetUpLock } from '#scripts/set-up/set-up-lock.mjs';
import { installTpmProvider, tpmProviderPath } from '#scripts/set-up/tpm-provider.mjs';

export const PROJECT_ROOT = dirname(dirname(fileURLToPath(import.meta.url)));

/**
 * Makes the checkout ready to run; says nothing when there is nothing to do. Two at once do not clash.
 *
 * @param {{ root?: string, tests?: boolean, commands?: readonly string[] }} options `tests`: also every Debian package
 *   the tests use; `commands`: only the packages of these commands. What may not be installed is named on stderr.
 * @returns {Promise<{ node: string, unavailable: import('#scripts/set-up/debian-packages.mjs').DebianPackage[] }>}
 *   the Node 24 binary, and what of the wanted packages is still missing.
 * @throws {SetUpError} with what to do next.
 */
export async function setUp({ root = PROJECT_ROOT, tests = false, commands = [] } = {}) {
  const wanted = DEBIAN_PACKAGES.filter((entry) => tests || commands.includes(entry.command));
  if (!existsSync(join(root, 'package-lock.json'))) {
    throw new SetUpError(`${root} has no package-lock.json`, 'clone the repository again: this checkout is incomplete');
  }
  const wantsTpm = tests || commands.includes('swtpm');
  if (!isReady(root) || missingPackages(wanted).length > 0 || (wantsTpm && !tpmProviderPath(root))) {
    await withSetUpLock(root, async () => {
      // Asked again under the lock: another set-up may have done it while this one waited.
      if (!dependenciesAreFresh(root)) await installDependencies(root);
      if (!node24Path(root)) await installNode24(root);
      const missing = missingPackages(wanted);
      if (missing.length > 0) await installDebianPackages(missing);
      if (wantsTpm && !tpmProviderPath(root)) await installTpmProvider(root);
    });
  }
  const node = node24Path(root);
  if (!node) throw new SetUpError('Node 24 is missing', 'remove node_modules and run the same command again');
  return { node, unavailable: missingPackages(wanted) };
}

/** @param {string} root */
function isReady(root) {
  return dependenciesAreFresh(root) && node24Path(root) !== undefined;
}
