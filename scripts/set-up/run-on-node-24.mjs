import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { delimiter, join } from 'node:path';
import { PROJECT_ROOT } from '#scripts/setup.mjs';

/**
 * Runs a program to its end in our place: same terminal, signals passed on, its exit code returned.
 *
 * @param {string} node path of the Node 24 binary
 * @param {readonly string[]} args
 * @param {{ tied?: boolean }} options `tied`: a channel that closes when this process dies, even by SIGKILL
 * @returns {Promise<number>}
 */
export function runOnNode24(node, args, { tied = false } = {}) {
  const bin = join(PROJECT_ROOT, 'node_modules', '.bin');
  // What the program starts by the name `node` is Node 24 too.
  const env = { ...process.env, PATH: [bin, process.env['PATH']].filter(Boolean).join(delimiter) };
  const child = spawn(node, args, { env, stdio: ['inherit', 'inherit', 'inherit', ...(tied ? ['ipc'] : [])] });
  const forward = (/** @type {NodeJS.Signals} */ signal) => {
    // A terminal sends Ctrl-C to the whole group: the child has it already.
    if (signal === 'SIGINT' && process.stdin.isTTY) return;
    child.kill(signal);
  };
  for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) process.on(signal, forward);
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code, signal) => resolve(code ?? 128 + (signal ? constants.signals[signal] : 0)));
  });
}
