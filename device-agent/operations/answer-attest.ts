import { bindEvidence } from '#ca/tpm2/qualifying-data.ts';
import { AgentError } from '#device-agent/domain/agent-error.ts';
import { fullJitter } from '#device-agent/domain/backoff.ts';
import type { Clock } from '#device-agent/ports/clock.ts';
import type { KeyProvider } from '#device-agent/ports/key-provider.ts';
import type { Log } from '#device-agent/ports/log.ts';
import type { Randomness } from '#device-agent/ports/randomness.ts';
import type { AttestBody } from '#gateway/contract/notice.ts';
import type { AttestEvidence } from '#gateway/contract/reports.ts';
import type { Identity } from './identity.ts';
import type { TimeKeeper } from './time-keeper.ts';

const RETRY_BOUNDS = { baseMs: 2000, capMs: 5 * 60_000 } as const;
const LEAST_RETRY_MS = 500;

type AttestDeps = { keys: KeyProvider; clock: Clock; randomness: Randomness; log: Log; time: TimeKeeper };

/**
 * The evidence for an `attest` notice. A TPM that fails once is asked again, slower each time, as long as the challenge is
 * good: a device that has said `failed` stays in quarantine until a person looks at it.
 * @param identity as it is at each try: its key may be replaced meanwhile @param expiresAt of the notice, milliseconds UTC
 * @throws AgentError TPM_UNUSABLE when its key is in no TPM, or it fails to the end; STOPPED
 */
export async function answerAttest(
  { keys, clock, randomness, log, time }: AttestDeps,
  identity: () => Pick<Identity, 'key'>,
  { body, expiresAt }: { body: AttestBody; expiresAt: number },
  signal: AbortSignal,
): Promise<AttestEvidence> {
  const deadline = clock.monotonic() + expiresAt - time.now();
  for (let failures = 0; ; failures += 1) {
    try {
      return await attestOnce(keys, identity(), body);
    } catch (error) {
      const delay = Math.max(LEAST_RETRY_MS, fullJitter(failures, RETRY_BOUNDS, randomness.fraction()));
      if (!keys.attester || clock.monotonic() + delay >= deadline) throw error;
      const reason = error instanceof Error ? error.message : String(error);
      log.warn('the key could not be proved, it is tried again', { reason, retryInMs: delay });
      await clock.wait(delay, signal);
      if (signal.aborted)
        throw new AgentError('STOPPED', 'the agent stops; the challenge is answered at the next start');
    }
  }
}

/**
 * The TPM certifies the key in use, bound to the nonce of the notice: what a copy of this disk elsewhere cannot do.
 * @throws AgentError TPM_UNUSABLE
 */
async function attestOnce(
  { attester }: KeyProvider,
  { key }: Pick<Identity, 'key'>,
  { nonce }: AttestBody,
): Promise<AttestEvidence> {
  if (!attester)
    throw new AgentError('TPM_UNUSABLE', 'the key of this device is not in a TPM: it cannot be proved again');
  const { attest, signature, publicArea } = await attester.certify(
    key.pem,
    bindEvidence(Buffer.from(nonce, 'base64url'), key.publicKey),
  );
  return {
    attest: attest.toString('base64'),
    signature: signature.toString('base64'),
    publicArea: publicArea.toString('base64'),
  };
}
