import { parseCertificate } from '#ca/pkix/certificate.ts';
import type { AuthorityDescription, AuthorityIssuer, CertificateAuthority } from '#ca/ports/certificate-authority.ts';
import type { CaGenerationState } from '#gateway/contract/operator-api.ts';
import { auditEntry } from '#gateway/domain/audit-entry.ts';
import { discardedRows, generationRows, settleStates } from '#gateway/domain/ca-generations.ts';
import { acceptedIssuers, type CaTrust, readCaTrust } from '#gateway/domain/ca-trust.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { Store, Tables } from '#gateway/ports/store.ts';

export type TrustBookDeps = { store: Store; authority: CertificateAuthority; clock: Clock };

/** What an operator decides about one issuer. */
export type TrustChange = {
  keyId: string;
  from: readonly CaGenerationState[];
  to: CaGenerationState;
  actor: string;
  reason: string | null;
};

type Decided = Pick<TrustChange, 'actor' | 'reason'>;

const VERSION_SETTING = 'ca-trust-version';

const ACTIONS = {
  announced: 'ca.announced',
  active: 'ca.activated',
  tainted: 'ca.tainted',
  retired: 'ca.retired',
  discarded: 'ca.discarded',
} as const;

/**
 * Whom we trust and ask others to trust: what the authority holds, joined with what operators have decided. The record of
 * who issues follows the authority, so that a crash between the two is mended at the next look.
 */
export class CaTrustBook {
  /** Called after each change, when everything reads it already. */
  onChanged: () => Promise<void> = () => Promise.resolve();
  readonly #deps: TrustBookDeps;
  #trust: CaTrust | undefined;
  #description: AuthorityDescription | undefined;
  /** Looks and changes follow each other. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(deps: TrustBookDeps) {
    this.#deps = deps;
  }

  /** As of the last look. */
  get trust(): CaTrust {
    return ready(this.#trust);
  }

  /** As of the last look. */
  get description(): AuthorityDescription {
    return ready(this.#description);
  }

  /**
   * Looks at the authority and brings the record up to date.
   * @param actor who has just activated one, for the audit @throws AuthorityError
   */
  load(actor = 'gateway'): Promise<CaTrust> {
    return this.#inTurn(() => this.#load({ actor, reason: null }));
  }

  /**
   * A prepared issuer is given up: nobody can announce it meanwhile.
   * @param discard has the authority do it @returns false when it is not (any more) prepared
   */
  discard(order: Omit<TrustChange, 'from' | 'to'>, discard: () => Promise<unknown>): Promise<boolean> {
    return this.#inTurn(() => this.#discard(order, discard));
  }

  /** One step on. @returns false when the issuer is not (any more) in a state in which it can be taken. */
  change(change: TrustChange): Promise<boolean> {
    return this.#inTurn(() => this.#change(change));
  }

  async #load({ actor, reason }: Decided): Promise<CaTrust> {
    const description = await this.#deps.authority.describe();
    const issuers = issuersOf(description);
    const before = await this.#deps.store.read.caGenerations.list();
    const own = before.filter(({ kind }) => kind === 'intermediate');
    const recorded = new Map(own.map(({ keyId, state }) => [keyId, state]));
    const settled = settleStates(issuers, recorded);
    const gone = discardedRows(before, issuers, { now: this.#deps.clock.now(), reason });
    const isSettled = gone.length === 0 && [...settled].every(([keyId, state]) => recorded.get(keyId) === state);
    const version = isSettled ? await readVersion(this.#deps.store.read) : undefined;
    if (version === undefined) await this.#record(description, settled, { actor, reason });
    else this.#keep(description, settled, version);
    return this.trust;
  }

  async #change({ keyId, from, to, actor, reason }: TrustChange): Promise<boolean> {
    const trust = await this.#load({ actor: 'gateway', reason: null });
    const issuer = trust.issuers.find((one) => one.keyId === keyId);
    if (issuer === undefined || !from.includes(issuer.state)) return false;
    const states = new Map(trust.issuers.map((one) => [one.keyId, one.keyId === keyId ? to : one.state]));
    await this.#record(this.description, states, { actor, reason });
    return true;
  }

  async #discard(
    { keyId, actor, reason }: Omit<TrustChange, 'from' | 'to'>,
    discard: () => Promise<unknown>,
  ): Promise<boolean> {
    const trust = await this.#load({ actor: 'gateway', reason: null });
    if (trust.issuers.find((one) => one.keyId === keyId)?.state !== 'prepared') return false;
    await discard();
    await this.#load({ actor, reason });
    return true;
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work);
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  async #record(
    description: AuthorityDescription,
    states: ReadonlyMap<string, CaGenerationState>,
    { actor, reason }: Decided,
  ): Promise<void> {
    const { store, clock } = this.#deps;
    const now = clock.now();
    const version = await store.write(async (tables) => {
      const before = await tables.caGenerations.list();
      const next = this.#read(description, states, 0);
      const rows = [
        ...generationRows(next.issuers, before, { now, reason }),
        ...discardedRows(before, issuersOf(description), { now, reason }),
      ];
      for (const row of rows) {
        await tables.caGenerations.put(row);
        const action = row.kind === 'intermediate' ? actionOf(row.state) : undefined;
        // What stands there from the beginning nobody has decided.
        if (action === undefined || before.length === 0) continue;
        await tables.audit.append(auditEntry({ at: now, actor, action, subject: `ca ${row.keyId}`, detail: reason }));
      }
      const known = await readVersion(tables);
      const isOther = this.#trust === undefined || formatAccepted(this.#trust) !== formatAccepted(next);
      if (known !== undefined && !isOther) return known;
      // By the clock as well: a database from an older backup must not say again what was said under the same number.
      const raised = Math.max((known ?? 0) + 1, Math.floor(now / 1000));
      await tables.settings.set(VERSION_SETTING, String(raised));
      return raised;
    });
    this.#keep(description, states, version);
    await this.onChanged();
  }

  #keep(description: AuthorityDescription, states: ReadonlyMap<string, CaGenerationState>, version: number): void {
    this.#trust = this.#read(description, states, version);
    this.#description = description;
  }

  #read(description: AuthorityDescription, states: ReadonlyMap<string, CaGenerationState>, version: number): CaTrust {
    const { trustDomain } = description;
    return readCaTrust(
      { trustDomain, version, issuers: issuersOf(description) },
      (keyId) => states.get(keyId) ?? 'prepared',
    );
  }
}

/** An authority of an older version tells of one issuer. */
function issuersOf(description: AuthorityDescription): AuthorityIssuer[] {
  const { issuers, rootCertificate: root, intermediateCertificate: certificate } = description;
  if (issuers !== undefined && issuers.length > 0) return issuers;
  const keyId = parseCertificate(certificate).subjectKeyId ?? '';
  return [{ keyId, certificate, root, crossCertificates: [], isActive: true }];
}

function formatAccepted(trust: CaTrust): string {
  return acceptedIssuers(trust)
    .map(({ keyId }) => keyId)
    .join(' ');
}

async function readVersion(tables: Pick<Tables, 'settings'>): Promise<number | undefined> {
  const text = await tables.settings.get(VERSION_SETTING);
  return text === undefined ? undefined : Number(text);
}

function actionOf(state: CaGenerationState): (typeof ACTIONS)[keyof typeof ACTIONS] | undefined {
  switch (state) {
    case 'announced':
    case 'active':
    case 'tainted':
    case 'retired':
    case 'discarded':
      return ACTIONS[state];
    case 'prepared':
    case 'superseded':
      return undefined;
  }
}

function ready<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('the CA was not looked at yet');
  return value;
}
