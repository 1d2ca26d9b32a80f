import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { runStep, secondsSince } from './run-step.mjs';
import { SetUpError, say } from './set-up-error.mjs';

const SHOWN_LINES = 15;

/**
 * Compares package-lock.json with what npm wrote into node_modules when it finished (an interrupted install has no such
 * file). Packages of other systems (`optional`) may be absent.
 *
 * @param {string} root
 */
export function dependenciesAreFresh(root) {
  const wanted = readPackages(join(root, 'package-lock.json'));
  const installed = readPackages(join(root, 'node_modules', '.package-lock.json'));
  if (!wanted || !installed) return false;
  return Object.entries(wanted).every(([path, entry]) => {
    // Linked folders of the project itself stand in the lock under their own path, and '' is the project.
    if (!path.startsWith('node_modules/')) return true;
    const found = installed[path];
    if (!found) return entry.optional === true || entry.devOptional === true;
    if (found.version !== entry.version || found.integrity !== entry.integrity) return false;
    return existsSync(join(root, path));
  });
}

/**
 * `npm ci`, so that exactly the locked versions are installed.
 * @param {string} root
 */
export async function installDependencies(root) {
  const start = performance.now();
  say('installing dependencies (npm ci) ...');
  const [command, ...first] = npmCommand();
  // --include=dev: NODE_ENV=production in the environment must not leave the tests without their tools.
  const args = [...first, 'ci', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error'];
  const result = await runStep(command, args, { cwd: root });
  if (!result.ok) {
    for (const line of result.output.slice(0, SHOWN_LINES)) say(line);
    throw new SetUpError(
      'npm ci failed; its reason stands above',
      'most often the network, a proxy or the registry is the reason. Then run the same command again',
    );
  }
  if (!dependenciesAreFresh(root)) {
    throw new SetUpError(
      'npm ci ended well, yet node_modules does not match package-lock.json',
      'look for an .npmrc that changes what npm installs (omit, workspaces, prefix), then run the same command again',
    );
  }
  say(`dependencies ready in ${secondsSince(start)}`);
}

/** The npm that started us when there is one, else the one on PATH. @returns {[string, ...string[]]} */
function npmCommand() {
  const script = process.env['npm_execpath'];
  if (script?.endsWith('npm-cli.js') && existsSync(script)) return [process.execPath, script];
  return [process.platform === 'win32' ? 'npm.cmd' : 'npm'];
}

/**
 * @param {string} path
 * @returns {Record<string, { version?: string, integrity?: string, optional?: boolean, devOptional?: boolean }> | undefined}
 */
function readPackages(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8')).packages;
  } catch {
    return undefined;
  }
}
