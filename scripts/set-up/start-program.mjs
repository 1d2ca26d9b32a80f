import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { PROJECT_ROOT, setUp } from '#scripts/setup.mjs';
import { runOnNode24 } from './run-on-node-24.mjs';
import { SetUpError, say } from './set-up-error.mjs';

/**
 * What `npx gatehouse` and `npx gatehouse-agent` do in a checkout: set up, then become the program. In this process when
 * it already runs TypeScript as written, else in a Node 24.
 *
 * @param {string} file a file of the project
 */
export async function startProgram(file) {
  try {
    const { node } = await setUp();
    const path = join(PROJECT_ROOT, file);
    if (Number.parseInt(process.versions.node, 10) >= 24 && process.features.typescript) {
      process.argv[1] = path;
      await import(pathToFileURL(path).href);
    } else {
      process.exitCode = await runOnNode24(node, [path, ...process.argv.slice(2)]);
    }
  } catch (error) {
    if (!(error instanceof SetUpError)) throw error;
    say(error.message);
    say(`next: ${error.advice}`);
    process.exitCode = 1;
  }
}
