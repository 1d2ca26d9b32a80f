import { readFile } from 'node:fs/promises';
import { CommandError } from './command-error.ts';

/**
 * DER of every certificate in a file: PEM blocks, or one DER as it is. What they are is for the gateway to judge.
 * @throws CommandError FAILED
 */
export async function readCertificateFile(path: string): Promise<Buffer[]> {
  const bytes = await readFile(path).catch((cause: unknown) => {
    throw new CommandError('FAILED', `${path} cannot be read`, { cause });
  });
  const blocks = [
    ...bytes.toString('latin1').matchAll(/-----BEGIN CERTIFICATE-----([\s\S]*?)-----END CERTIFICATE-----/g),
  ];
  if (blocks.length > 0) return blocks.map(([, base64 = '']) => Buffer.from(base64, 'base64'));
  // A DER certificate is a SEQUENCE.
  if (bytes[0] === 0x30) return [bytes];
  throw new CommandError('FAILED', `${path} holds no certificate`, { advice: 'give a PEM or DER file' });
}
