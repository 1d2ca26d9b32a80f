import { parseCertificate } from '#ca/pkix/certificate.ts';
import { formatNameText } from '#ca/pkix/name.ts';
import type { SucceededAuthority } from '#ca/ports/certificate-authority.ts';
import type {
  CaRolloverPhase,
  CaRolloverStatus,
  CaRolloverStep,
  DeviceNotReady,
} from '#gateway/contract/ca-rollover-api.ts';
import type { CaGenerationState, Page } from '#gateway/contract/operator-api.ts';
import type { CaIssuer, CaTrust } from '#gateway/domain/ca-trust.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import type { Broker } from '#gateway/ports/broker.ts';
import { askAuthority } from './ask-authority.ts';
import type { CaTrustBook } from './ca-trust-book.ts';
import { requireStartable } from './require-startable.ts';
import { countReady, listNotReady, percentOf, type ReadinessDeps } from './rollover-readiness.ts';
import { type CampaignOrder, type StartCampaignDeps, startCampaign } from './start-renewal-campaign.ts';

export type RolloverDeps = ReadinessDeps &
  StartCampaignDeps & {
    authority: SucceededAuthority;
    trustBook: CaTrustBook;
    broker: Broker;
    /** Key ids of the issuers of the gateway's own certificates. */
    ownIssuers: () => string[];
  };

type Decided = { actor: string; reason?: string };

/**
 * The prepared CA is told to every device, served at /cacerts, and let in; it does not issue yet.
 * @throws GatewayError STATE_CONFLICT, AUTHORITY_UNAVAILABLE
 */
export async function announceCa(deps: RolloverDeps, { actor, reason }: Decided): Promise<CaRolloverStep> {
  const trust = await look(deps);
  const prepared = trust.issuers.findLast(({ state }) => state === 'prepared');
  if (prepared === undefined) throw conflict('no CA is prepared; make one with `gatehouse ca rollover prepare`');
  return step(deps, prepared, { from: ['prepared'], to: 'announced', actor, reason });
}

/**
 * The prepared CA is given up, with its keys: nobody has heard of it. One that was announced is trusted already.
 * @throws GatewayError STATE_CONFLICT, AUTHORITY_UNAVAILABLE
 */
export async function discardCa(deps: RolloverDeps, { actor, reason }: Decided): Promise<CaRolloverStep> {
  const { authority, trustBook } = deps;
  const trust = await look(deps);
  const prepared = trust.issuers.findLast(({ state }) => state === 'prepared');
  if (prepared === undefined) {
    const isAnnounced = trust.issuers.some(({ state }) => state === 'announced');
    throw conflict(
      isAnnounced
        ? 'the next CA is announced, and devices trust it: go on with `gatehouse ca rollover activate`'
        : 'no CA is prepared',
    );
  }
  const { keyId, certificate } = prepared;
  const isDone = await askAuthority(authority, () =>
    trustBook.discard({ keyId, actor, reason: reason ?? null }, () => authority.discardIssuer(keyId)),
  );
  if (!isDone) throw changedMeanwhile();
  const { version } = trustBook.trust;
  return { keyId, sha256: certificate.sha256, state: 'discarded', trustVersion: version, campaignId: null };
}

/**
 * From now on the announced CA issues, and the gateway shows certificates of it, with the way to the root before beside
 * them. Nobody has to be ready: whoever knows the old root alone still finds the way.
 * @throws GatewayError STATE_CONFLICT, AUTHORITY_UNAVAILABLE
 */
export async function activateCa(deps: RolloverDeps, { actor }: Decided): Promise<CaRolloverStep> {
  const trust = await look(deps);
  const announced = trust.issuers.findLast(({ state }) => state === 'announced');
  if (announced === undefined) {
    throw conflict('no CA is announced: devices hear of it first, with `gatehouse ca rollover announce`');
  }
  // The authority first: it is the one that knows, and the record follows it, now or after a crash.
  await askAuthority(deps.authority, () => deps.authority.activateIssuer(announced.keyId));
  const after = await deps.trustBook.load(actor);
  return described(after, announced.keyId);
}

/**
 * What a replaced CA has issued is to be renewed: a campaign tells its devices at a rate.
 * @throws GatewayError STATE_CONFLICT, also while another campaign still tells the same devices: then say it again later
 */
export async function taintCa(
  deps: RolloverDeps,
  order: Decided &
    Pick<CampaignOrder, 'issuerKeyId' | 'withinSeconds' | 'perMinute' | 'abortPercent' | 'giveUpSeconds'>,
): Promise<CaRolloverStep> {
  const { actor, reason = 'its CA is replaced', issuerKeyId, ...pace } = order;
  const trust = await look(deps);
  const issuer = replaced(trust, issuerKeyId, ['superseded', 'tainted']);
  const inUse = await hasDevices(deps, issuer.keyId);
  // Asked before anything is changed: a tainted CA that nobody renews away from would look as if it were under way.
  if (inUse) await requireStartable(deps.store.read, { group: null });
  const tainted =
    issuer.state === 'tainted'
      ? described(trust, issuer.keyId)
      : await step(deps, issuer, { from: ['superseded'], to: 'tainted', actor, reason });
  if (!inUse) return tainted;
  const campaign = await startCampaign(deps, { ...pace, issuerKeyId: issuer.keyId, reason, actor });
  return { ...tainted, campaignId: campaign.id };
}

/**
 * The replaced CA is let in no more, and devices drop its root when no other CA stands below it.
 * @throws GatewayError STATE_CONFLICT as long as a device needs it, unless forced with a reason
 */
export async function retireCa(
  deps: RolloverDeps,
  { actor, reason, issuerKeyId, force }: Decided & { issuerKeyId?: string; force: boolean },
): Promise<CaRolloverStep> {
  if (force && reason === undefined) throw new GatewayError('REQUEST_INVALID', 'whoever forces it gives a reason');
  const trust = await look(deps);
  const issuer = replaced(trust, issuerKeyId, ['superseded', 'tainted']);
  // Not even by force: nobody would find the way to the gateway, or believe it that the old root is to be dropped.
  if (deps.ownIssuers().includes(issuer.keyId))
    throw conflict('the gateway itself still has a certificate of it, and renews it in a moment: try again');
  const { devices, ready } = await countReady(deps, trust);
  if (ready < devices && !force) {
    const left = devices - ready;
    throw conflict(
      `${left} of ${devices} ${devices === 1 ? 'device' : 'devices'} would be cut off (${percentOf(ready, devices)} % ready); ` +
        '`gatehouse ca rollover status` names them',
    );
  }
  const why = force && ready < devices ? `forced with ${devices - ready} devices not ready: ${reason}` : reason;
  return step(deps, issuer, { from: ['superseded', 'tainted'], to: 'retired', actor, reason: why });
}

export async function showRollover(deps: RolloverDeps): Promise<CaRolloverStatus> {
  const trust = await look(deps);
  const { devices, ready, withAnchors, withCertificate } = await countReady(deps, trust);
  const generations = await deps.store.read.caGenerations.list();
  const phase = phaseOf(trust);
  return {
    phase,
    trustVersion: trust.version,
    generations: generations.map(({ sha256, kind, keyId, state, changedAt, reason, der }) => {
      const { subject, notAfter } = parseCertificate(der);
      return { sha256, kind, keyId, subject: formatNameText(subject), state, notAfter, changedAt, reason };
    }),
    devices,
    ready,
    readyPercent: percentOf(ready, devices),
    withAnchors,
    withCertificate,
    next: nextOf(phase, devices - ready, devices - withAnchors),
  };
}

export async function listRolloverDevices(
  deps: RolloverDeps,
  query: { after?: string | undefined; limit: number },
): Promise<Page<DeviceNotReady>> {
  return listNotReady(deps, await look(deps), query);
}

function look({ authority, trustBook }: RolloverDeps): Promise<CaTrust> {
  return askAuthority(authority, () => trustBook.load());
}

async function step(
  { trustBook }: RolloverDeps,
  { keyId }: CaIssuer,
  change: { from: readonly CaGenerationState[]; to: CaGenerationState; actor: string; reason: string | undefined },
): Promise<CaRolloverStep> {
  const isChanged = await trustBook.change({ keyId, ...change, reason: change.reason ?? null });
  if (!isChanged) throw changedMeanwhile();
  return described(trustBook.trust, keyId);
}

function described(trust: CaTrust, keyId: string): CaRolloverStep {
  const issuer = trust.issuers.find((one) => one.keyId === keyId) ?? trust.active;
  const { certificate, state } = issuer;
  return { keyId, sha256: certificate.sha256, state, trustVersion: trust.version, campaignId: null };
}

/** The one that is named, or the only one there is. */
function replaced(trust: CaTrust, keyId: string | undefined, states: readonly CaGenerationState[]): CaIssuer {
  const found = trust.issuers.filter((one) => states.includes(one.state) && (keyId ?? one.keyId) === one.keyId);
  const [issuer, another] = found;
  if (issuer === undefined) {
    throw conflict(
      keyId === undefined ? 'no CA has been replaced: activate another one first' : `${keyId} is not a replaced CA`,
    );
  }
  if (another === undefined) return issuer;
  throw conflict(`several CAs have been replaced; name one: ${found.map((one) => one.keyId).join(', ')}`);
}

async function hasDevices({ store }: RolloverDeps, issuerKeyId: string): Promise<boolean> {
  for (let after: string | undefined; ; ) {
    const page = await store.read.certificates.listByIssuer(issuerKeyId, { after, limit: 500 });
    if (page.some(({ state, supersedeAt }) => state === 'active' && supersedeAt === null)) return true;
    after = page.at(-1)?.serial;
    if (after === undefined) return false;
  }
}

function phaseOf({ issuers }: CaTrust): CaRolloverPhase {
  const is = (state: CaGenerationState) => issuers.some((issuer) => issuer.state === state);
  if (is('tainted')) return 'tainted';
  if (is('announced')) return 'announced';
  if (is('superseded')) return 'activated';
  return is('prepared') ? 'prepared' : 'settled';
}

function nextOf(phase: CaRolloverPhase, notReady: number, withoutAnchors: number): string {
  switch (phase) {
    case 'settled':
      return 'nothing is under way; to begin: gatehouse ca rollover prepare';
    case 'prepared':
      return 'tell the devices: gatehouse ca rollover announce; or give it up: gatehouse ca rollover discard';
    case 'announced':
      return withoutAnchors === 0
        ? 'every device knows the new anchors: gatehouse ca rollover activate'
        : `${withoutAnchors} devices have not said yet that they know the new anchors; wait for them, or go on: gatehouse ca rollover activate`;
    case 'activated':
    case 'tainted':
      if (notReady === 0) return 'every device is ready: gatehouse ca rollover retire';
      return phase === 'activated'
        ? `${notReady} devices are not ready; they renew in time by themselves, or sooner: gatehouse ca rollover taint`
        : `${notReady} devices are not ready (gatehouse ca rollover status --devices): those that are away renew when they come back, ` +
            'or count no more when their certificate has ended; not to wait for them: gatehouse ca rollover retire --force --reason TEXT';
  }
}

function changedMeanwhile(): GatewayError {
  return conflict('somebody else has just changed it: look at the status');
}

function conflict(message: string): GatewayError {
  return new GatewayError('STATE_CONFLICT', message);
}
