#!/usr/bin/env node
// `node scripts/run.mjs NAME [arguments]`: sets the checkout up, then runs one of the project's programs on Node 24.
// Plain JavaScript for any Node >= 20: it starts before anything is installed.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { runOnNode24 } from '#scripts/set-up/run-on-node-24.mjs';
import { SetUpError, say } from '#scripts/set-up/set-up-error.mjs';
import { PROJECT_ROOT, setUp } from './setup.mjs';

/**
 * `file`: a file of the project. `tool`: a program of an installed package. `commands`: outside programs it needs.
 * `tied`: ends itself when this process is gone, however it went.
 */
const PROGRAMS = {
  start: { file: 'gateway/main.ts', tied: true },
  dev: { file: 'gateway/main.ts', first: ['--watch'], args: ['--data', 'data/dev', '--host', '127.0.0.1'] },
  demo: { file: 'scripts/demo.ts', commands: ['openssl'], tied: true },
  technician: { file: 'scripts/technician.ts' },
  simulate: { file: 'simulators/main.ts' },
  bench: { file: 'scripts/bench.ts', tests: true },
  test: { file: 'scripts/run-tests.ts', tests: true },
  check: { file: 'scripts/check.ts', tests: true },
  'build:agent': { file: 'scripts/build-agent.ts' },
  format: { tool: ['@biomejs/biome', 'biome'], args: ['check', '--write', '.'] },
  lint: { tool: ['oxlint', 'oxlint'], args: ['.'] },
  types: { tool: ['typescript', 'tsc'], args: ['-p', '.'] },
  deadcode: { tool: ['knip', 'knip'] },
  setup: {},
};

try {
  process.exitCode = await run(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof SetUpError)) throw error;
  say(error.message);
  say(`next: ${error.advice}`);
  process.exitCode = 1;
}

/** @param {string[]} argv @returns {Promise<number>} exit code */
async function run([name, ...rest]) {
  const program = name !== undefined && Object.hasOwn(PROGRAMS, name) ? PROGRAMS[name] : undefined;
  if (!program) {
    process.stderr.write(`usage: node scripts/run.mjs ${Object.keys(PROGRAMS).join('|')} [arguments]\n`);
    return 2;
  }
  const tests = program.tests ?? (name === 'setup' && rest.includes('--tests'));
  const { node, unavailable } = await setUp({ tests, commands: program.commands ?? [] });
  for (const entry of unavailable) say(`not available: ${entry.library ?? entry.command}, which ${entry.reason}`);
  const file = program.file ?? (program.tool && toolPath(...program.tool));
  if (!file) return 0;
  const args = [...(program.first ?? []), join(PROJECT_ROOT, file), ...(program.args ?? []), ...rest];
  return runOnNode24(node, args, { tied: program.tied ?? false });
}

/** @param {string} packageName @param {string} command @returns {string} the script behind node_modules/.bin/COMMAND */
function toolPath(packageName, command) {
  const folder = join('node_modules', packageName);
  const { bin } = JSON.parse(readFileSync(join(PROJECT_ROOT, folder, 'package.json'), 'utf8'));
  return join(folder, typeof bin === 'string' ? bin : bin[command]);
}
