import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { styleText } from 'node:util';
import { PROJECT_ROOT } from './command-line/project-root.ts';

/** `npm run check`: what must hold before a commit. Every step runs, so that one look shows all that is wrong. */
const STEPS = [
  ['format', 'node_modules/@biomejs/biome/bin/biome', 'check', '.'],
  ['types', 'node_modules/typescript/bin/tsc', '-p', '.'],
  ['lint and layers', 'node_modules/oxlint/bin/oxlint', '.'],
  ['dead code', 'node_modules/knip/bin/knip.js'],
  ['tests', 'scripts/run-tests.ts'],
] as const;

const failed: string[] = [];
for (const [name, file, ...args] of STEPS) {
  const start = performance.now();
  process.stderr.write(`${styleText('bold', name, { stream: process.stderr })} ...\n`);
  const isGood = await run(file, args);
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  process.stderr.write(`${name}: ${isGood ? 'ok' : 'FAILED'} (${seconds} s)\n`);
  if (!isGood) failed.push(name);
}
process.stdout.write(failed.length === 0 ? 'check: all is well\n' : `check: failed: ${failed.join(', ')}\n`);
process.exitCode = failed.length === 0 ? 0 : 1;

function run(file: string, args: readonly string[]): Promise<boolean> {
  const child = spawn(process.execPath, [join(PROJECT_ROOT, file), ...args], { cwd: PROJECT_ROOT, stdio: 'inherit' });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code) => resolve(code === 0));
  });
}
