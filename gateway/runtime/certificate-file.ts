import { readFile } from 'node:fs/promises';
import { formatPem, parsePem } from '#ca/pkix/pem.ts';
import { writeDurableFile } from './durable-file.ts';
import { RuntimeError } from './runtime-error.ts';

/** Certificates as PEM, leaf first. Readable by everybody: they are public. */
export async function storeCertificates(path: string, certificates: readonly Uint8Array[]): Promise<void> {
  await writeDurableFile(path, certificates.map((der) => formatPem('CERTIFICATE', der)).join(''), 0o644);
}

/**
 * @returns DER of each, or undefined when there is no such file.
 * @throws RuntimeError CERTIFICATE_FILE_UNREADABLE
 */
export async function loadCertificates(path: string): Promise<Buffer[] | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    return parsePem(text, 'CERTIFICATE');
  } catch (cause) {
    throw new RuntimeError(
      'CERTIFICATE_FILE_UNREADABLE',
      `${path} holds no certificate: delete it to have it renewed`,
      {
        cause,
      },
    );
  }
}
