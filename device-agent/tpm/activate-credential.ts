import { type Endorsement, loadEndorsementKey } from './endorsement-key.ts';
import { formatHandle } from './persistent-key.ts';
import type { TpmBench } from './tpm-workbench.ts';

/** Header of the file that tpm2_activatecredential reads: magic number and version. */
const FILE_HEADER = Buffer.from('badcc0de00000001', 'hex');

export type SealedCredential = {
  /** TPM2B_ID_OBJECT. */
  credentialBlob: Buffer;
  /** TPM2B_ENCRYPTED_SECRET. */
  encryptedSecret: Buffer;
};

/**
 * Opens what only the TPM with this EK and this AK can open (TPM 2.0 Part 3, 12.5).
 * @returns the secret. @throws TpmError
 */
export async function activateCredential(
  bench: TpmBench,
  endorsement: Endorsement,
  akHandle: number,
  credential: SealedCredential,
): Promise<Buffer> {
  await bench.write(
    'credential.bin',
    Buffer.concat([FILE_HEADER, credential.credentialBlob, credential.encryptedSecret]),
  );
  const key = await loadEndorsementKey(bench, endorsement);
  const command = `tpm2_activatecredential -Q -c ${formatHandle(akHandle)} -C ${key} -i credential.bin -o secret.bin`;
  // High range templates may be used with their empty password; the low range demands the endorsement policy. An EK is
  // not exempt from lockout: a power cut soon after the use of that password counts as one failed attempt.
  if (endorsement.area.attributes.has('userWithAuth')) await bench.run(command);
  else await withEndorsementPolicy(bench, (session) => bench.run(`${command} -P ${session}`));
  return bench.read('secret.bin');
}

/** PolicyA of the TCG EK Credential Profile: PolicySecret of the endorsement hierarchy. */
async function withEndorsementPolicy(bench: TpmBench, work: (session: string) => Promise<unknown>): Promise<void> {
  await bench.run('tpm2_startauthsession -Q --policy-session -S policy.session');
  try {
    await bench.run('tpm2_policysecret -Q -S policy.session -c e');
    await work('session:policy.session');
  } finally {
    await bench.run('tpm2_flushcontext policy.session').catch(() => {});
  }
}
