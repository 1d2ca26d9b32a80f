import { spawn } from 'node:child_process';

/**
 * Runs a program of the set-up to its end. Its output goes to stderr as it comes, and its last lines are kept for the
 * message of a failure.
 *
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv, show?: boolean }} options `show: false` keeps the output for failures
 * @returns {Promise<{ ok: boolean, tail: string }>} never rejects: a program that cannot start is a failure with a reason
 */
export function runStep(command, args, { cwd, env = process.env, show = true } = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    const keep = (/** @type {Buffer} */ chunk) => {
      if (show) process.stderr.write(chunk);
      output = (output + chunk.toString()).slice(-8000);
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    child.on('error', (error) => resolve({ ok: false, tail: error.message }));
    child.on('close', (code, signal) => {
      const tail = output.trim().split('\n').slice(-8).join('\n');
      resolve({ ok: code === 0, tail: tail || (signal ? `ended by ${signal}` : `exit code ${code}`) });
    });
  });
}

/** Seconds since `start` (from `performance.now()`), for a progress line. @param {number} start */
export function secondsSince(start) {
  return `${((performance.now() - start) / 1000).toFixed(1)} s`;
}
