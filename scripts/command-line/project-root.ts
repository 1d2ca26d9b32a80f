import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The checkout this command line belongs to: where the gateway, the authority and the agent are started from. */
export const PROJECT_ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
