import type { Attempt } from '#gateway/domain/attempt.ts';
import type { AttemptBudget } from '#gateway/domain/attempt-budget.ts';
import { auditEntry } from '#gateway/domain/audit-entry.ts';
import { GatewayError, type GatewayErrorCode } from '#gateway/domain/gateway-error.ts';
import { networkOf } from '#gateway/domain/network-of.ts';
import { nextActionFor } from '#gateway/domain/next-action.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { Log } from '#gateway/ports/log.ts';
import type { Metrics } from '#gateway/ports/metrics.ts';
import type { Randomness } from '#gateway/ports/randomness.ts';
import { type Store, StoreError } from '#gateway/ports/store.ts';
import { AttemptSteps } from './attempt-steps.ts';
import type { BackgroundWrites } from './background-writes.ts';
import { noteRefused } from './campaign-results.ts';
import { putAttempt } from './put-attempt.ts';

export type AttemptDeps = {
  store: Store;
  clock: Clock;
  random: Randomness;
  log: Log;
  metrics: Metrics;
  background: Pick<BackgroundWrites, 'add'>;
  attemptRows: AttemptBudget;
};

/** What is known of an attempt so far; the work fills in the device as soon as it knows it. */
export type AttemptFacts = {
  attemptId: string;
  address: string;
  kind: Attempt['kind'];
  door: Attempt['door'];
  deviceId: string | undefined;
  /** Of the certificate it asked with. */
  serial: string | undefined;
  steps: AttemptSteps;
};

/** How an attempt came in. */
export type Arrival = { attemptId: string; address: string; door: Attempt['door'] };

const SUCCESS = {
  issued: 'certificate issued',
  'given-again': 'certificate given again',
  challenged: 'attestation challenge made',
} as const;

export type SuccessOutcome = keyof typeof SUCCESS;

export function issuedOrAgain({ givenAgain }: { givenAgain: boolean }): SuccessOutcome {
  return givenAgain ? 'given-again' : 'issued';
}

/**
 * Runs one attempt and makes sure that, however it ends, its id stands in the log, the metrics, the attempts and the
 * audit with the reason. Refusals of somebody unknown are logged and counted, not audited: a stranger must not fill the
 * disk. One that waits for a person was not refused.
 */
export async function recordAttempt<T>(
  deps: AttemptDeps,
  { attemptId, address, door, kind }: Arrival & { kind: Attempt['kind'] },
  work: (facts: AttemptFacts) => Promise<T>,
  outcomeOf: (result: T) => SuccessOutcome,
): Promise<T> {
  const facts: AttemptFacts = {
    attemptId,
    address,
    door,
    kind,
    deviceId: undefined,
    serial: undefined,
    steps: new AttemptSteps(deps.clock),
  };
  try {
    const result = await work(facts);
    await recordSuccess(deps, facts, outcomeOf(result));
    return result;
  } catch (thrown) {
    const error = asRefusal(thrown);
    await recordFailure(deps, facts, error);
    throw error;
  }
}

async function recordSuccess(deps: AttemptDeps, facts: AttemptFacts, outcome: SuccessOutcome): Promise<void> {
  const { attemptId, kind, door, deviceId, address } = facts;
  deps.metrics.enrollment(kind, outcome, facts.steps.milliseconds() / 1000);
  deps.log.info(SUCCESS[outcome], { attemptId, kind, door, deviceId, address });
  // What is issued is on record anyway; a client that asks the same thing in a loop gets its answer, but not a row a time.
  const end = { network: networkOf(address), deviceId, code: undefined };
  const isKept = outcome === 'issued' || deps.attemptRows.take(end, deps.clock.now());
  if (!isKept) return;
  keepAttempt(deps, facts, { outcome, code: null, detail: null, nextAction: null });
  if (outcome === 'given-again' && deviceId !== undefined) await auditAgain(deps, facts, deviceId);
}

async function recordFailure(deps: AttemptDeps, facts: AttemptFacts, error: unknown): Promise<void> {
  const refusal = error instanceof GatewayError ? error : undefined;
  const code: GatewayErrorCode = refusal?.code ?? 'INTERNAL';
  deps.metrics.enrollment(facts.kind, code, facts.steps.milliseconds() / 1000);
  facts.deviceId ??= refusal?.subject.deviceId;
  facts.serial ??= refusal?.subject.serial;
  const { attemptId, kind, door, address, deviceId } = facts;
  const told = { attemptId, kind, door, deviceId, address, code, detail: refusal?.message };
  const isPending = code === 'APPROVAL_PENDING';
  const isOurs = refusal === undefined || OUR_SIDE.has(code);
  // A stranger who guesses tickets in a loop must not fill log and disk: past a few a minute the metrics tell of it.
  const isKept = deps.attemptRows.take({ network: networkOf(address), deviceId, code }, deps.clock.now());
  const isStranger = deviceId === undefined || code === 'TICKET_UNKNOWN';
  if (refusal === undefined) deps.log.error('enrollment failed', { ...told, error });
  else if (isPending) deps.log.info('enrollment waits for a person', told);
  else if (!isStranger || isKept) deps.log.warn('enrollment refused', told);
  else deps.log.debug('enrollment refused', told);
  const outcome = isPending ? 'pending' : isOurs ? 'failed' : 'refused';
  // Once a device: all of a fleet may come from one address, and each is to be found with its reason.
  const isAwaited = outcome === 'refused' && (await tellCampaigns(deps, facts, code));
  if (!isKept && !isAwaited) return;
  const detail = refusal?.message ?? 'internal error, see the log';
  keepAttempt(deps, facts, { outcome, code, detail, nextAction: nextActionFor(code) });
  // That it waits was audited with the request, once.
  if (deviceId !== undefined && !isPending) await auditRefusal(deps, { ...facts, deviceId }, code, detail);
}

export const OUR_SIDE: ReadonlySet<GatewayErrorCode> = new Set<GatewayErrorCode>([
  'AUTHORITY_UNAVAILABLE',
  'STORE_UNAVAILABLE',
  'OVERLOADED',
  'INTERNAL',
]);

/** @returns true when somebody waited for this renewal and did not know yet that it is refused */
async function tellCampaigns(
  { store, log }: AttemptDeps,
  { serial, deviceId, attemptId }: AttemptFacts,
  code: GatewayErrorCode,
): Promise<boolean> {
  // A stranger can show a copied serial, but is no device.
  if (serial === undefined || deviceId === undefined) return false;
  try {
    return await noteRefused(store, { serial, code, attemptId });
  } catch (error) {
    // The campaign then has the device's own words.
    log.error('refusal not noted with the campaign', { attemptId, code, error: String(error) });
    return false;
  }
}

/** Behind the answer's back: the record is not what gives the certificate. */
function keepAttempt(
  deps: AttemptDeps,
  facts: AttemptFacts,
  end: Pick<Attempt, 'outcome' | 'code' | 'detail' | 'nextAction'>,
): void {
  const { attemptId, kind, door, address, deviceId, steps } = facts;
  const milliseconds = steps.milliseconds();
  const at = deps.clock.now() - Math.round(milliseconds);
  const attempt: Attempt = {
    id: attemptId,
    at,
    kind,
    door,
    address,
    deviceId: deviceId ?? null,
    ...end,
    milliseconds,
    steps: steps.list(),
  };
  deps.background.add((tables) => putAttempt(tables, deps.random, attempt));
}

/** A full disk is not a bug: the device is told to come back, and nothing was half done. */
function asRefusal(thrown: unknown): unknown {
  if (!(thrown instanceof StoreError) || thrown.code !== 'UNAVAILABLE') return thrown;
  return new GatewayError('STORE_UNAVAILABLE', 'the database cannot be written at the moment; ask again', {
    cause: thrown,
    retryAfter: 10,
  });
}

async function auditAgain(deps: AttemptDeps, facts: AttemptFacts, deviceId: string): Promise<void> {
  await deps.store.write((tables) =>
    tables.audit.append(
      auditEntry({
        at: deps.clock.now(),
        actor: `address:${facts.address}`,
        action: 'certificate.given-again',
        subject: deviceId,
        attemptId: facts.attemptId,
      }),
    ),
  );
}

async function auditRefusal(
  deps: AttemptDeps,
  facts: AttemptFacts & { deviceId: string },
  code: GatewayErrorCode,
  detail: string,
): Promise<void> {
  try {
    await deps.store.write((tables) =>
      tables.audit.append(
        auditEntry({
          at: deps.clock.now(),
          actor: `address:${facts.address}`,
          action: 'enrollment.refused',
          subject: facts.deviceId,
          attemptId: facts.attemptId,
          outcome: code === 'INTERNAL' ? 'failed' : 'refused',
          code,
          detail,
        }),
      ),
    );
  } catch (error) {
    // The refusal stands either way; what is lost is its row, and that is said.
    deps.log.error('refusal not audited', { attemptId: facts.attemptId, code, error: String(error) });
  }
}
