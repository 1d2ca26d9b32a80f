import { hash } from 'node:crypto';
import { parseCertificate } from '#ca/pkix/certificate.ts';
import { OID } from '#ca/pkix/oids.ts';
import { validatePath } from '#ca/pkix/path.ts';
import { formatAddress } from '#device-agent/domain/agent-config.ts';
import { asAgentError } from '#device-agent/domain/agent-error.ts';
import type { Clock } from '#device-agent/ports/clock.ts';
import type { EstClient } from '#device-agent/ports/est-client.ts';
import type { KeyProvider } from '#device-agent/ports/key-provider.ts';
import type { Log } from '#device-agent/ports/log.ts';
import type { MqttConnector } from '#device-agent/ports/mqtt-connector.ts';
import type { Randomness } from '#device-agent/ports/randomness.ts';
import type { StateStore } from '#device-agent/ports/state-store.ts';
import { confirmSession } from './confirm-session.ts';
import { tlsIdentityOf } from './identity.ts';
import { type OpenedState, openAgentState } from './open-agent-state.ts';
import { TimeKeeper } from './time-keeper.ts';

export type CheckDeps = {
  store: StateStore;
  keys: KeyProvider;
  est: EstClient;
  mqtt: MqttConnector;
  clock: Clock;
  randomness: Randomness;
  log: Log;
};

export type Finding = { ok: boolean; what: string; advice?: string };

/**
 * Everything that has to be right, one line each. @param live whether a running agent has a session: a second one with
 * the same id would end it. undefined when no agent runs. @param isKeyUsable false: TLS is not tried, it is known to fail.
 */
export async function checkAgent(
  deps: CheckDeps,
  live: { connected: boolean } | undefined,
  { isKeyUsable = true } = {},
): Promise<Finding[]> {
  let opened: OpenedState;
  try {
    opened = await openAgentState(deps);
  } catch (error) {
    return [failed('the state folder holds a usable identity', error)];
  }
  const time = await TimeKeeper.open(deps);
  return [
    { ok: true, what: `key and certificate belong together (serial ${opened.identity.certificate.serial})` },
    checkRoot(opened),
    checkChain(opened),
    checkClock(time, deps.clock),
    checkDates(opened, time),
    ...(isKeyUsable ? [await checkEst(deps, opened, time), await checkMqtt(deps, opened, time, live)] : []),
  ];
}

function checkRoot({ anchors, config }: OpenedState): Finding {
  const isPinned = anchors.some((der) => hash('sha256', der, 'hex') === config.rootSha256);
  return isPinned
    ? { ok: true, what: 'trust.pem holds the pinned root' }
    : { ok: false, what: 'trust.pem does not hold the pinned root', advice: 'restore trust.pem, or enroll again' };
}

function checkChain({ identity, anchors }: OpenedState): Finding {
  try {
    validatePath(identity.certificate, {
      intermediates: identity.certificates.slice(1).map((der) => parseCertificate(der)),
      anchors: anchors.map((der) => parseCertificate(der)),
      extendedKeyUsage: OID.clientAuth,
    });
    return { ok: true, what: 'the certificate chains to the trusted root' };
  } catch (error) {
    return failed('the certificate chains to the trusted root', error);
  }
}

function checkClock(time: TimeKeeper, clock: Clock): Finding {
  const shown = new Date(clock.now()).toISOString();
  return time.isClockBelievable()
    ? { ok: true, what: `the clock can be right (${shown})` }
    : {
        ok: false,
        what: `the clock is wrong (${shown})`,
        advice: 'set the clock; the agent goes on with time it has verified',
      };
}

function checkDates({ identity }: OpenedState, time: TimeKeeper): Finding {
  const { notBefore, notAfter } = identity.certificate;
  const until = new Date(notAfter).toISOString();
  if (time.now() > notAfter) {
    return {
      ok: false,
      what: `the certificate has expired (${until})`,
      advice:
        '`run` asks for the next one for as long as the gateway allows; else run enroll with --replace and a new ticket',
    };
  }
  if (time.now() < notBefore) return { ok: false, what: 'the certificate is not valid yet', advice: 'set the clock' };
  return { ok: true, what: `the certificate is valid until ${until}` };
}

async function checkEst(
  { est }: CheckDeps,
  { config, anchors, identity }: OpenedState,
  time: TimeKeeper,
): Promise<Finding> {
  const what = `the gateway answers over EST (${formatAddress(config.est)})`;
  const session = est.openSession({
    address: config.est,
    trust: time.trust(anchors),
    identity: tlsIdentityOf(identity),
  });
  try {
    await session.fetchCaCertificates();
    return { ok: true, what };
  } catch (error) {
    return failed(what, error);
  } finally {
    session.close();
  }
}

async function checkMqtt(
  deps: CheckDeps,
  { config, anchors, identity }: OpenedState,
  time: TimeKeeper,
  live: { connected: boolean } | undefined,
): Promise<Finding> {
  const what = `an MQTT session is possible (${formatAddress(config.mqtt)})`;
  if (live?.connected === true) return { ok: true, what: 'the running agent has an MQTT session' };
  if (live)
    return { ok: false, what: 'the running agent has no MQTT session', advice: '`status` and its log tell why' };
  try {
    await confirmSession(deps, { config, trust: time.trust(anchors), identity });
    return { ok: true, what };
  } catch (error) {
    return failed(what, error);
  }
}

export function failed(what: string, thrown: unknown): Finding {
  const { message, advice } = asAgentError(thrown, 'STATE_BROKEN');
  return { ok: false, what: `${what}: ${message}`, ...(advice === undefined ? {} : { advice }) };
}
