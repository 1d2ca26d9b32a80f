import { readFile } from 'node:fs/promises';
import { CommandError } from './command-error.ts';

const REQUEST = /-----BEGIN (?:NEW )?CERTIFICATE REQUEST-----([\s\S]*?)-----END (?:NEW )?CERTIFICATE REQUEST-----/;

/**
 * DER of the PKCS#10 request in a file, PEM or DER. What it asks for is for the gateway to judge.
 * @throws CommandError FAILED
 */
export async function readCsrFile(path: string): Promise<Buffer> {
  const bytes = await readFile(path).catch((cause: unknown) => {
    throw new CommandError('FAILED', `${path} cannot be read`, { cause });
  });
  const [, base64] = REQUEST.exec(bytes.toString('latin1')) ?? [];
  if (base64 !== undefined) return Buffer.from(base64, 'base64');
  // A DER request is a SEQUENCE.
  if (bytes[0] === 0x30) return bytes;
  throw new CommandError('FAILED', `${path} holds no certificate request`, {
    advice: 'make one: openssl req -new -key KEY -subj /CN=NAME -out FILE',
  });
}
