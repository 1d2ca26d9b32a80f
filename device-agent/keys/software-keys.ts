import { createPrivateKey, createPublicKey, generateKeyPair, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';
import { classifyPublicKey } from '#ca/pkix/public-key.ts';
import { signMessage } from '#ca/pkix/signature-algorithm.ts';
import type { CsrSignatureAlgorithm, DeviceKey, KeyProvider } from '#device-agent/ports/key-provider.ts';
import type { KeyKind } from '#gateway/contract/operator-api.ts';

const generateKeys = promisify(generateKeyPair);

/** Keys in files: unencrypted PKCS#8, protected by the mode of the file and nothing else. */
export const softwareKeys: KeyProvider = {
  name: 'software',
  generate: async (kind) => keyOf(await generatePrivateKey(kind), kind),
  load: (pem) => {
    const privateKey = parsePrivateKey(pem);
    const { kind, description } = classifyPublicKey(spkiOf(privateKey));
    if (kind === undefined) throw new RangeError(`a key of this kind is not used: ${description}`);
    return keyOf(privateKey, kind);
  },
};

/** The parser's own words name its source files, not what is wrong with ours. */
function parsePrivateKey(pem: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch (cause) {
    throw new RangeError('key.pem is damaged: it holds no unencrypted private key in PEM', { cause });
  }
}

async function generatePrivateKey(kind: KeyKind): Promise<KeyObject> {
  switch (kind) {
    case 'ec-p256':
      return (await generateKeys('ec', { namedCurve: 'P-256' })).privateKey;
    case 'ec-p384':
      return (await generateKeys('ec', { namedCurve: 'P-384' })).privateKey;
    case 'ed25519':
      return (await generateKeys('ed25519')).privateKey;
    case 'rsa-2048':
      return (await generateKeys('rsa', { modulusLength: 2048 })).privateKey;
    case 'rsa-3072':
      return (await generateKeys('rsa', { modulusLength: 3072 })).privateKey;
    case 'rsa-4096':
      return (await generateKeys('rsa', { modulusLength: 4096 })).privateKey;
  }
}

function keyOf(privateKey: KeyObject, kind: KeyKind): DeviceKey {
  const signatureAlgorithm = SIGNATURES[kind];
  return {
    kind,
    publicKey: spkiOf(privateKey),
    signatureAlgorithm,
    pem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    sign: async (message) => signMessage(signatureAlgorithm, message, privateKey),
  };
}

const SIGNATURES = {
  'ec-p256': 'ecdsa-sha256',
  'ec-p384': 'ecdsa-sha384',
  ed25519: 'ed25519',
  'rsa-2048': 'rsa-sha256',
  'rsa-3072': 'rsa-sha256',
  'rsa-4096': 'rsa-sha256',
} as const satisfies Record<KeyKind, CsrSignatureAlgorithm>;

function spkiOf(privateKey: KeyObject): Buffer {
  return createPublicKey(privateKey).export({ type: 'spki', format: 'der' });
}
