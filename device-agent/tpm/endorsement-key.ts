import { X509Certificate } from 'node:crypto';
import { type EndorsementKind, endorsementKindOf } from '#ca/tpm2/endorsement-kind.ts';
import { nameOf, type PublicArea, parseSizedPublicArea } from '#ca/tpm2/public-area.ts';
import { endorsementAreaOf } from '#ca/tpm2/templates.ts';
import { readPublicArea } from './persistent-key.ts';
import { readNvDer } from './read-nv.ts';
import { TpmError } from './tpm-error.ts';
import type { TpmBench } from './tpm-workbench.ts';

export type Endorsement = {
  kind: EndorsementKind;
  area: PublicArea;
  /** DER; undefined when the TPM carries none, as firmware TPMs often do. */
  certificate: Buffer | undefined;
  /** Intermediates that the TPM carries, DER. */
  chain: Buffer[];
  /** Persistent handle of the key; undefined: it is made again from its seed at each use. */
  handle: string | undefined;
};

/** Fastest first, and what old chips lack last. TCG EK Credential Profile 2.5, 2.2.1.4 and 2.2.1.5. */
const KINDS = [
  { kind: 'ec-p256', certificateIndex: '0x1c0000a', algorithm: 'ecc' },
  { kind: 'rsa-2048', certificateIndex: '0x1c00002', algorithm: 'rsa' },
  { kind: 'ec-p384', certificateIndex: '0x1c00016', algorithm: 'ecc384' },
] as const satisfies { kind: EndorsementKind; certificateIndex: string; algorithm: string }[];

/** 2.2.1.5.2: intermediates of the certificates, one or more DER certificates in each index. */
const CHAIN_FIRST = 0x1c00100;
const CHAIN_LAST = 0x1c001ff;

/**
 * The identity that the maker gave this TPM: the key with a certificate if there is one.
 * @param wanted only this kind (a choice of tests and of people with a reason). @throws TpmError
 */
export async function readEndorsement(bench: TpmBench, wanted?: EndorsementKind): Promise<Endorsement> {
  const indexes = await bench.handles('handles-nv-index');
  const persistent = await readPersistentEndorsements(bench);
  const kinds = KINDS.filter(({ kind }) => wanted === undefined || kind === wanted);
  for (const { kind, certificateIndex } of kinds) {
    if (!indexes.includes(certificateIndex)) continue;
    const [certificate] = await readNvDer(bench, certificateIndex);
    const area = certificate && areaOfCertificate(certificate);
    if (!certificate || !area || endorsementKindOf(area) !== kind) continue;
    const chain: Buffer[] = [];
    for (const index of indexes.filter((index) => Number(index) >= CHAIN_FIRST && Number(index) <= CHAIN_LAST)) {
      chain.push(...(await readNvDer(bench, index)));
    }
    return { kind, area, certificate, chain, handle: persistent.get(nameOf(area).toString('hex')) };
  }
  return withoutCertificate(bench, kinds);
}

async function withoutCertificate(bench: TpmBench, kinds: (typeof KINDS)[number][]): Promise<Endorsement> {
  let problem: unknown;
  for (const { kind } of kinds) {
    try {
      return {
        kind,
        area: await createEndorsementKey(bench, kind),
        certificate: undefined,
        chain: [],
        handle: undefined,
      };
    } catch (error) {
      // An old chip may lack the curve.
      problem = error;
    }
  }
  throw problem;
}

/**
 * The key of an endorsement for use on this bench. @returns a handle, or a context file.
 * @throws TpmError WRONG_TPM when the certificate in the TPM is for a key that it does not have
 */
export async function loadEndorsementKey(bench: TpmBench, endorsement: Endorsement): Promise<string> {
  if (endorsement.handle !== undefined) return endorsement.handle;
  const made = await createEndorsementKey(bench, endorsement.kind);
  if (nameOf(made).equals(nameOf(endorsement.area))) return 'ek.ctx';
  throw new TpmError('WRONG_TPM', 'the endorsement certificate in the TPM is not for the endorsement key it makes', {
    advice:
      'the maker used another template, or the endorsement seed was changed: have the operator allow the EK by its hash',
  });
}

/** From the endorsement seed: the same key every time. Leaves `ek.ctx`. */
async function createEndorsementKey(bench: TpmBench, kind: EndorsementKind): Promise<PublicArea> {
  const algorithm = KINDS.find((row) => row.kind === kind)?.algorithm ?? 'ecc';
  await bench.run(`tpm2_createek -Q -c ek.ctx -G ${algorithm} -u ek.pub -f tss`);
  return parseSizedPublicArea(await bench.read('ek.pub'), 'the endorsement key');
}

/** @returns handles by Name, lower-case hexadecimal. */
async function readPersistentEndorsements(bench: TpmBench): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  // 0x81010000 to 0x8101ffff is kept for endorsement keys (TCG registry of reserved handles).
  for (const handle of (await bench.handles('handles-persistent')).filter((handle) => handle.startsWith('0x8101'))) {
    const area = await readPublicArea(bench, handle);
    if (area && isEndorsementKey(area)) found.set(nameOf(area).toString('hex'), handle);
  }
  return found;
}

function isEndorsementKey(area: PublicArea): boolean {
  try {
    endorsementKindOf(area);
    return true;
  } catch {
    return false;
  }
}

/** The certificate has only the key; the maker made that from the standard template of its kind. */
function areaOfCertificate(certificate: Buffer): PublicArea | undefined {
  try {
    return endorsementAreaOf(new X509Certificate(certificate).publicKey.export({ type: 'spki', format: 'der' }));
  } catch {
    return undefined;
  }
}
