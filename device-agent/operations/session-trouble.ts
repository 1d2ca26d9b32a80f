import type { AgentConfig } from '#device-agent/domain/agent-config.ts';
import type { AgentError } from '#device-agent/domain/agent-error.ts';
import { isRefusalOfIdentity } from '#device-agent/domain/connack.ts';
import type { Log } from '#device-agent/ports/log.ts';
import type { ConnectOutcome, MqttConnector } from '#device-agent/ports/mqtt-connector.ts';
import { explainOutcome } from './confirm-session.ts';
import type { Asking, ExpiredLane } from './expired-lane.ts';
import type { FactBook } from './fact-book.ts';
import { type Identity, tlsIdentityOf } from './identity.ts';
import type { TimeKeeper } from './time-keeper.ts';

/** An attempt that brought no session. */
export type NoSession = {
  outcome: Exclude<ConnectOutcome, { kind: 'connected' }>;
  identity: Identity;
  /** In a row. */
  failures: number;
};

export type TroubleDeps = {
  mqtt: Pick<MqttConnector, 'readGatewayDates'>;
  log: Log;
  facts: FactBook;
  time: TimeKeeper;
  lane: Pick<ExpiredLane, 'hasEnded' | 'hasEndedMeanwhile'>;
  config: () => AgentConfig;
  anchors: () => Buffer[];
  /** Whether it is the one in use, with no newer one under way that would explain a refusal. */
  isInUse: (identity: Identity) => boolean;
  /** Over HTTPS: where MQTT is and what time it is. */
  askGateway: (identity: Identity) => Promise<void>;
  /** It has turned out that the certificate in use has expired. */
  onEnded: () => void;
  signal: AbortSignal;
};

/** So many failures in a row, and the agent asks over HTTPS what is the matter. */
const ASK_AFTER_FAILURES = 3;

/** What is noted of it, and what is looked at because of it. */
export async function lookIntoTrouble(deps: TroubleDeps, { outcome, identity, failures }: NoSession): Promise<void> {
  const { facts, time } = deps;
  const error = explainOutcome(outcome);
  if (outcome.kind === 'refused' && isRefusalOfIdentity(outcome.code)) {
    await facts.update({ refused: { serial: identity.certificate.serial, code: outcome.code, at: time.now() } });
    return lookIntoRefusal(deps, error, identity, failures);
  }
  await facts.noteError(error, time.now());
  // It may also mean that MQTT has moved, or that our clock is wrong.
  const mayBeElsewhere = outcome.kind !== 'refused' && outcome.kind !== 'key-unusable';
  const isDue = failures % ASK_AFTER_FAILURES === 0 || (outcome.kind === 'untrusted' && failures === 1);
  if (!mayBeElsewhere || !isDue) return;
  if (outcome.kind === 'untrusted') await learnFromGateway(deps, identity);
  await deps.askGateway(identity);
}

/**
 * A certificate of the gateway that has yet to begin says that it is later than this device thinks, or than the gateway
 * does. Where only MQTT is reached nothing else tells, and without it there is no session to be told the time in.
 */
async function learnFromGateway(
  { mqtt, time, log, config, anchors, signal }: TroubleDeps,
  identity: Identity,
): Promise<void> {
  const trust = time.trustWithoutDates(anchors());
  const target = { address: config().mqtt, trust, identity: tlsIdentityOf(identity) };
  const dates = await mqtt.readGatewayDates(target, signal);
  // What was made of it before has not helped.
  time.forgetSupposed();
  const before = time.now();
  if (dates === undefined || dates.notBefore <= before) return;
  time.suppose(dates.notBefore);
  log.warn('the clock of this device seems to be late', { byAtLeastMs: dates.notBefore - before });
}

/** CONNACK 5 is an answer, and never says why. It may be that the certificate has expired without our knowing it. */
async function lookIntoRefusal(
  { facts, time, lane, ...deps }: TroubleDeps,
  error: AgentError,
  identity: Identity,
  failures: number,
): Promise<void> {
  // Known to have expired: then it is no news, and what counts is what becomes of the renewal.
  if (lane.hasEnded(identity)) return;
  await facts.noteError(error, time.now());
  const isRevoked = facts.facts.revoked?.serial === identity.certificate.serial;
  if (isRevoked || !deps.isInUse(identity)) return;
  const asking: Asking = { config: deps.config(), anchors: deps.anchors(), identity };
  if (asking.config.renewVia !== 'est' && (await lane.hasEndedMeanwhile(asking, deps.signal))) deps.onEnded();
  else if (failures % ASK_AFTER_FAILURES === 0) await deps.askGateway(identity);
}
