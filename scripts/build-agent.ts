import { execFile } from 'node:child_process';
import { chmod, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { PROJECT_ROOT } from './command-line/project-root.ts';

/** `npm run build:agent`: the device agent as one file that any Node 24 runs, for devices without npm. */
const OUTPUT = join(PROJECT_ROOT, 'dist', 'gatehouse-agent.mjs');

// Packages in CommonJS inside an ES module still ask for `require`.
const BANNER = `#!/usr/bin/env node
import { createRequire as gatehouseCreateRequire } from 'node:module';
const require = gatehouseCreateRequire(import.meta.url);`;

await build({
  entryPoints: [join(PROJECT_ROOT, 'device-agent', 'main.ts')],
  outfile: OUTPUT,
  bundle: true,
  platform: 'node',
  target: 'node24',
  format: 'esm',
  minify: true,
  // Stack traces and error names stay readable in the field.
  keepNames: true,
  legalComments: 'eof',
  banner: { js: BANNER },
  logLevel: 'warning',
});
await chmod(OUTPUT, 0o755);

// A bundle can build and still not start: a package may load its parts by a computed name.
const { stdout } = await promisify(execFile)(process.execPath, [OUTPUT, '--help'], { timeout: 20_000 });
if (!stdout.includes('enroll')) throw new Error(`${OUTPUT} starts, but its --help does not name the command enroll`);

const { size } = await stat(OUTPUT);
const zipped = gzipSync(await readFile(OUTPUT)).length;
const kib = (bytes: number) => `${(bytes / 1024).toFixed(0)} KiB`;
process.stdout.write(`${OUTPUT}: ${kib(size)} (${kib(zipped)} compressed); starts\n`);
