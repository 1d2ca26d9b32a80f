import type { TpmCurve, TpmHash } from './algorithms.ts';
import type { PublicArea } from './public-area.ts';
import { Tpm2Error } from './tpm-error.ts';

export type EndorsementKind = 'rsa-2048' | 'ec-p256' | 'ec-p384';

type EndorsementFacts = { hash: TpmHash; symmetricBits: 128 | 256; curve?: TpmCurve };

/** TCG EK Credential Profile 2.5, B.3 and B.4: the kind of the key fixes name algorithm and cipher. */
export const ENDORSEMENT_KINDS = {
  'rsa-2048': { hash: 'sha256', symmetricBits: 128 },
  'ec-p256': { hash: 'sha256', symmetricBits: 128, curve: 'P-256' },
  'ec-p384': { hash: 'sha384', symmetricBits: 256, curve: 'P-384' },
} as const satisfies Record<EndorsementKind, EndorsementFacts>;

/** @throws Tpm2Error EK_UNSUPPORTED when it is another key than an endorsement key of the three kinds. */
export function endorsementKindOf(area: PublicArea): EndorsementKind {
  const kind = kindOfKey(area);
  if (kind === undefined) throw new Tpm2Error('EK_UNSUPPORTED', 'the endorsement key is not RSA-2048, P-256 or P-384');
  const { hash, symmetricBits } = ENDORSEMENT_KINDS[kind];
  const { attributes } = area;
  const isStorageKey = attributes.has('restricted') && attributes.has('decrypt') && !attributes.has('sign');
  if (!isStorageKey || area.nameAlg !== hash || area.symmetricBits !== symmetricBits || area.scheme !== undefined) {
    throw new Tpm2Error('EK_UNSUPPORTED', `the endorsement key has not the shape of ${kind} endorsement keys`);
  }
  return kind;
}

function kindOfKey(area: PublicArea): EndorsementKind | undefined {
  if (area.type === 'rsa') return area.keyBits === 2048 ? 'rsa-2048' : undefined;
  if (area.curve === 'P-256') return 'ec-p256';
  return area.curve === 'P-384' ? 'ec-p384' : undefined;
}
