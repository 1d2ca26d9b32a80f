import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, realpathSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { runStep, secondsSince } from './run-step.mjs';
import { SetUpError, say } from './set-up-error.mjs';

const WANTED = 24;

/**
 * Node 24 from the pinned npm package `node`, else the Node that runs now when it is new enough.
 * @param {string} root
 * @returns {string | undefined} path of the binary
 */
export function node24Path(root) {
  const pinned = pinnedNode(root);
  if (pinned && isWanted(pinned)) return pinned;
  // Only when the project pins no Node: where it does, a missing binary is repaired rather than worked around.
  return existsSync(join(root, 'node_modules', 'node', 'package.json')) ? undefined : ownNode();
}

/**
 * The package `node` fetches its binary in an install script, which npm may have blocked: run it ourselves.
 * @param {string} root
 */
export async function installNode24(root) {
  const folder = join(root, 'node_modules', 'node');
  const start = performance.now();
  say(`fetching Node ${WANTED} (npm package "node") ...`);
  const result = await runStep(process.execPath, ['installArchSpecificPackage.js'], { cwd: folder });
  const pinned = pinnedNode(root);
  if (result.ok && pinned && isWanted(pinned)) {
    linkIntoBin(root);
    say(`Node ${WANTED} ready in ${secondsSince(start)}`);
    return;
  }
  throw new SetUpError(
    `Node ${WANTED} could not be fetched: ${result.output.at(-1)}`,
    `allow the install script of the npm package "node" (npm install-scripts), or start with Node ${WANTED} on PATH after removing node_modules/node`,
  );
}

/** @param {string} root */
function pinnedNode(root) {
  const path = join(root, 'node_modules', 'node', 'bin', process.platform === 'win32' ? 'node.exe' : 'node');
  return existsSync(path) ? path : undefined;
}

/** @param {string} path */
function isWanted(path) {
  if (realpathSync(path) === realpathSync(process.execPath)) return major(process.version) === WANTED;
  // A half-written or foreign binary fails here rather than in the middle of the command.
  const { stdout } = spawnSync(path, ['--version'], { encoding: 'utf8', timeout: 10_000 });
  return major(stdout ?? '') === WANTED;
}

function ownNode() {
  return major(process.version) >= WANTED ? process.execPath : undefined;
}

/** @param {string} version such as v24.1.0 */
function major(version) {
  return Number(/^v(\d+)\./.exec(version)?.[1] ?? Number.NaN);
}

/** npm makes no link to a binary that was not there when it linked. @param {string} root */
function linkIntoBin(root) {
  const folder = join(root, 'node_modules', '.bin');
  mkdirSync(folder, { recursive: true });
  try {
    symlinkSync(join('..', 'node', 'bin', 'node'), join(folder, 'node'));
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
  }
}
