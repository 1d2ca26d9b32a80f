import { hash } from 'node:crypto';
import { resolve } from 'node:path';
import { SimulatorError } from '#simulators/simulator-error.ts';
import type { KeptMaker } from '#simulators/tpm/maker-folder.ts';
import type { SimulatedMaker } from '#simulators/tpm/simulated-maker.ts';
import type { OperatorClient } from './operator-client.ts';

/** Of a gateway of our own: takes nothing but keys that a TPM of the pinned maker holds. */
const ATTESTED_GROUP = 'attested';

/** Pins the maker at a gateway of our own and makes a group that demands its TPMs. @returns the group's name */
export async function trustMaker(operator: OperatorClient, maker: SimulatedMaker): Promise<string> {
  await operator.call('addTpmRoot', [], { certificate: maker.rootCertificate.toString('base64'), note: 'simulated' });
  await operator.call('addGroup', [], { name: ATTESTED_GROUP, policy: { proof: 'tpm-endorsed' } });
  return ATTESTED_GROUP;
}

/**
 * Whom a gateway trusts is its operator's decision, so at somebody else's gateway nothing is pinned from here.
 * @param dataDir of the gateway @throws SimulatorError MAKER_NOT_TRUSTED, with what to type
 */
export async function requireTrustedMaker(
  operator: OperatorClient,
  { maker, rootFile }: KeptMaker,
  dataDir: string,
): Promise<void> {
  const sha256 = hash('sha256', maker.rootCertificate, 'hex');
  const { items } = await operator.call('listTpmRoots', [], undefined, undefined, { limit: 1000 });
  if (items.some((root) => root.sha256 === sha256)) return;
  throw new SimulatorError(
    'MAKER_NOT_TRUSTED',
    `this gateway does not trust the maker of the simulated TPMs; its root was written to ${rootFile}`,
    {
      advice: `\`npx gatehouse tpm root add ${resolve(rootFile)} --data ${resolve(dataDir)}\`, then the same again; afterwards \`npx gatehouse tpm root remove ${sha256}\`: whoever reads that folder can make TPMs that this gateway believes`,
    },
  );
}
