import { spawn } from 'node:child_process';

/** Characters; the reason of a failure stands early in what npm and apt say. */
const MOST_KEPT = 64_000;

/**
 * Runs a program of the set-up to its end, quietly; what it said is kept for the message of a failure.
 *
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv }} options
 * @returns {Promise<{ ok: boolean, output: string[] }>} never rejects: a program that cannot start is a failure with a
 *   reason. `output`: the lines of both streams, at least one when it failed.
 */
export function runStep(command, args, { cwd, env = process.env } = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
    let text = '';
    const keep = (/** @type {Buffer} */ chunk) => {
      text = (text + chunk.toString()).slice(0, MOST_KEPT);
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    child.on('error', (error) => resolve({ ok: false, output: [error.message] }));
    child.on('close', (code, signal) => {
      const lines = text.split('\n').filter((line) => line.trim() !== '');
      if (lines.length === 0) lines.push(signal ? `ended by ${signal}` : `exit code ${code}`);
      resolve({ ok: code === 0, output: lines });
    });
  });
}

/** Seconds since `start` (from `performance.now()`), for a progress line. @param {number} start */
export function secondsSince(start) {
  return `${((performance.now() - start) / 1000).toFixed(1)} s`;
}
