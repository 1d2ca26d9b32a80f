import type { AuditBudget } from '#gateway/domain/audit-budget.ts';
import { auditEntry } from '#gateway/domain/audit-entry.ts';
import { GatewayError, type GatewayErrorCode } from '#gateway/domain/gateway-error.ts';
import { networkOf } from '#gateway/domain/network-of.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { Log, LogFacts } from '#gateway/ports/log.ts';
import type { Metrics } from '#gateway/ports/metrics.ts';
import { type Store, StoreError } from '#gateway/ports/store.ts';

export type AttemptDeps = {
  store: Store;
  clock: Clock;
  log: Log;
  metrics: Metrics;
  refusals: AuditBudget;
  strangerLines: AuditBudget;
};

/** What is known of an attempt so far; the work fills in the device as soon as it knows it. */
export type AttemptFacts = {
  attemptId: string;
  address: string;
  kind: 'enroll' | 'reenroll' | 'challenge';
  deviceId: string | undefined;
};

const SUCCESS = {
  issued: 'certificate issued',
  'given-again': 'certificate given again',
  challenged: 'attestation challenge made',
} as const;

export type AttemptOutcome = keyof typeof SUCCESS;

export function issuedOrAgain({ givenAgain }: { givenAgain: boolean }): AttemptOutcome {
  return givenAgain ? 'given-again' : 'issued';
}

/**
 * Runs one attempt and makes sure that, however it ends, its id stands in the log, the metrics and the audit with the
 * reason. Refusals of somebody unknown are logged and counted, not audited: a stranger must not fill the disk.
 */
export async function recordAttempt<T>(
  deps: AttemptDeps,
  facts: AttemptFacts,
  work: () => Promise<T>,
  outcomeOf: (result: T) => AttemptOutcome,
): Promise<T> {
  const started = deps.clock.monotonic();
  const seconds = () => (deps.clock.monotonic() - started) / 1000;
  try {
    const result = await work();
    const { attemptId, kind, deviceId, address } = facts;
    const outcome = outcomeOf(result);
    deps.metrics.enrollment(kind, outcome, seconds());
    deps.log.info(SUCCESS[outcome], { attemptId, kind, deviceId, address });
    if (outcome === 'given-again' && deviceId !== undefined) await auditAgain(deps, facts, deviceId);
    return result;
  } catch (thrown) {
    const error = asRefusal(thrown);
    const refusal = error instanceof GatewayError ? error : undefined;
    const code: GatewayErrorCode = refusal?.code ?? 'INTERNAL';
    deps.metrics.enrollment(facts.kind, code, seconds());
    const { attemptId, kind, address } = facts;
    const deviceId = facts.deviceId ?? refusal?.subject.deviceId;
    if (refusal === undefined) deps.log.error('enrollment failed', { attemptId, kind, deviceId, address, error });
    else logRefusal(deps, { attemptId, kind, deviceId, address, code, detail: refusal.message });
    if (deviceId !== undefined && deps.refusals.take(networkOf(address), deps.clock.now())) {
      await auditRefusal(deps, { ...facts, deviceId }, code, refusal?.message ?? 'internal error, see the log');
    }
    throw error;
  }
}

/** A stranger who guesses tickets in a loop must not fill the log either: past a few a minute the metrics tell of it. */
function logRefusal(deps: AttemptDeps, facts: { deviceId: string | undefined; address: string } & LogFacts): void {
  const isTold = facts.deviceId !== undefined || deps.strangerLines.take(networkOf(facts.address), deps.clock.now());
  if (isTold) deps.log.warn('enrollment refused', facts);
  else deps.log.debug('enrollment refused', facts);
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
  // A client that asks the same thing in a loop gets its answer, but not a row a time.
  if (!deps.refusals.take(networkOf(facts.address), deps.clock.now())) return;
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
