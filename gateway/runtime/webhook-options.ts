import { readFile, stat } from 'node:fs/promises';
import type { WebhookOptions } from './https-policy-webhook.ts';
import { RuntimeError } from './runtime-error.ts';

/**
 * What the operator laid down for webhooks; both files are optional.
 * @param files.ca PEM certificates, trusted beside the public ones @param files.secret signs the questions; 0600
 * @throws RuntimeError KEY_FILE_EXPOSED when others could read the secret
 */
export async function loadWebhookOptions(files: { ca: string; secret: string }): Promise<WebhookOptions> {
  const ca = await readIfThere(files.ca);
  const secret = (await readIfThere(files.secret))?.trim();
  if (secret !== undefined && ((await stat(files.secret)).mode & 0o077) !== 0) {
    throw new RuntimeError('KEY_FILE_EXPOSED', `others may read ${files.secret}: run \`chmod 600\` on it`);
  }
  return { ...(ca !== undefined && { ca: [ca] }), ...(secret !== undefined && { secret }) };
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}
