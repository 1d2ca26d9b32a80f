import { type AgentError, asAgentError } from '#device-agent/domain/agent-error.ts';
import { readSignedTime } from '#device-agent/domain/read-signed-time.ts';
import type { EstClient, EstSession, EstTarget, ServedDirectory } from '#device-agent/ports/est-client.ts';
import type { Log } from '#device-agent/ports/log.ts';
import type { Randomness } from '#device-agent/ports/randomness.ts';
import type { TimeKeeper } from './time-keeper.ts';

export type AskTimeDeps = { est: EstClient; randomness: Randomness; log: Log; time: TimeKeeper };

export type DirectoryTarget = Omit<EstTarget, 'trust'> & { anchors: Buffer[] };

/**
 * A verified session and what the directory says over it; the time is taken from it on the way. When nothing but dates
 * can stand in between, the gateway is asked for signed time first.
 * @throws AgentError GATEWAY_UNTRUSTED, GATEWAY_UNREACHABLE, GATEWAY_BUSY, ANSWER_UNFIT, STOPPED
 */
export async function openDirectory(
  deps: AskTimeDeps,
  target: DirectoryTarget,
  signal?: AbortSignal,
): Promise<{ session: EstSession; directory: ServedDirectory }> {
  try {
    return await open(deps, target, signal);
  } catch (error) {
    const isUntrusted = asAgentError(error, 'STATE_BROKEN').code === 'GATEWAY_UNTRUSTED';
    if (!isUntrusted || !(await askTime(deps, target, signal))) throw error;
    return open(deps, target, signal);
  }
}

async function open(deps: AskTimeDeps, target: DirectoryTarget, signal: AbortSignal | undefined) {
  const { est, time } = deps;
  const { anchors, ...rest } = target;
  const trust = time.trust(anchors);
  const session = est.openSession({ ...rest, trust });
  try {
    const nonce = newNonce(deps);
    const directory = await session.fetchDirectory(signal, nonce);
    const isTold = await take(deps, directory, { anchors, nonce });
    if (!isTold) await time.learn(directory.time, directory.servedUntil);
    if (trust.floor === undefined) time.settle();
    return { session, directory };
  } catch (error) {
    session.close();
    throw error;
  }
}

/**
 * Asks what time it is, over a session whose chain and name are verified and whose dates are not: for a device that
 * cannot tell whether they or its clock are wrong. Nothing but what is signed for our nonce is taken from it.
 * @returns whether the gateway has told
 */
export async function askTime(
  deps: AskTimeDeps,
  { address, anchors }: Pick<DirectoryTarget, 'address' | 'anchors'>,
  signal?: AbortSignal,
): Promise<boolean> {
  const { est, time, log } = deps;
  const session = est.openSession({ address, trust: time.trustWithoutDates(anchors) });
  try {
    const nonce = newNonce(deps);
    return await take(deps, await session.fetchDirectory(signal, nonce), { anchors, nonce });
  } catch (error) {
    log.info('the gateway does not tell the time', { reason: asAgentError(error, 'STATE_BROKEN').message });
    return false;
  } finally {
    session.close();
  }
}

/** A gateway of before signed time says nothing here. */
async function take(
  { time, log }: AskTimeDeps,
  { signedTime, servedUntil }: ServedDirectory,
  { anchors, nonce }: { anchors: Buffer[]; nonce: string },
): Promise<boolean> {
  if (signedTime === undefined) return false;
  try {
    const signed = readSignedTime(signedTime, { anchors, nonce });
    const before = time.now();
    if (!(await time.set(signed.time, Math.min(signed.signedUntil, servedUntil)))) {
      log.warn('the time of the gateway was not taken', { gateway: new Date(signed.time).toISOString() });
      return false;
    }
    const movedMs = time.now() - before;
    if (Math.abs(movedMs) > WORTH_TELLING_MS) log.warn('the time was taken from the gateway', { movedMs });
    return true;
  } catch (error) {
    log.warn('signed time refused', { reason: (error as AgentError).message });
    return false;
  }
}

const WORTH_TELLING_MS = 60_000;

/** 128 bits, base64url. */
function newNonce({ randomness }: AskTimeDeps): string {
  return randomness.bytes(16).toString('base64url');
}
