import { beforeAll, describe, expect, it } from 'vitest';
import { certifyAcross, type KeyedCa, lives, makeIntermediate, makeRoot } from '#ca/ceremony/make-ca.ts';
import type { Certificate } from '#ca/pkix/certificate.ts';
import { validatePath } from '#ca/pkix/path.ts';
import type { CaGenerationState } from '#gateway/contract/operator-api.ts';
import { generationRows, settleStates } from '#gateway/domain/ca-generations.ts';
import {
  acceptedIssuers,
  anchorsOf,
  type CaIssuer,
  type CaTrust,
  certificatesAbove,
  chainAbove,
  linksOf,
  rolloverCertificates,
} from '#gateway/domain/ca-trust.ts';
import { type DeviceTrust, lacksOf } from '#gateway/domain/device-trust.ts';

type Made = Omit<CaIssuer, 'state'>;

const now = Date.now();
const life = lives(now, {});
const dates = { notBefore: now - 3600_000, notAfter: life.root.notAfter };
/** Two intermediates below the first root, then a second root, then a third. */
let made: [Made, Made, Made, Made];

async function issuerBelow(root: KeyedCa, before?: KeyedCa): Promise<Made> {
  const { certificate } = await makeIntermediate('Plant', 'ec-p256', root, life.intermediate);
  const links =
    before === undefined
      ? []
      : [certifyAcross(root.certificate, before, dates), certifyAcross(before.certificate, root, dates)];
  return { keyId: certificate.subjectKeyId ?? '', certificate, root: root.certificate, crossCertificates: links };
}

beforeAll(async () => {
  const first = await makeRoot('Plant', life.root);
  const second = await makeRoot('Plant', life.root);
  const third = await makeRoot('Plant', life.root);
  made = [
    await issuerBelow(first),
    await issuerBelow(first),
    await issuerBelow(second, first),
    await issuerBelow(third, second),
  ];
});

function trustOf(...states: CaGenerationState[]): CaTrust {
  const issuers = states.map((state, place) => {
    const issuer = made[place];
    if (issuer === undefined) throw new Error('there are four');
    return { ...issuer, state };
  });
  const active = issuers.find(({ state }) => state === 'active');
  if (active === undefined) throw new Error('one is active');
  return { trustDomain: 'test.example', version: 1, issuers, active };
}

/** From the certificate of the issuer in use to this root, by what is shown with it. */
function path(trust: CaTrust, anchor: Certificate): Certificate[] {
  return validatePath(trust.active.certificate, {
    intermediates: chainAbove(trust, trust.active.keyId),
    anchors: [anchor],
    maxCertificates: 6,
  });
}

function describedIssuers(active: number, count: number): { keyId: string; isActive: boolean }[] {
  return made.slice(0, count).map(({ keyId }, place) => ({ keyId, isActive: place === active }));
}

function device(trustSeen: string | null, issuer: Made, first = issuer): DeviceTrust {
  const issuerKeyId = issuer.keyId;
  return {
    deviceId: 'a',
    group: 'g',
    trustSeen,
    trustSeenAt: null,
    serial: '01',
    issuerKeyId,
    notAfter: 1,
    enrolledUnder: first.keyId,
  } as unknown as DeviceTrust;
}

/** States after the authority was looked at. @param recorded before, oldest first */
function settle(active: number, count: number, recorded: CaGenerationState[]): CaGenerationState[] {
  const known = recorded.flatMap((state, place) => (made[place] ? [[made[place].keyId, state] as const] : []));
  return [...settleStates(describedIssuers(active, count), new Map(known)).values()];
}

const of = (certificates: readonly Certificate[]) => certificates.map(({ sha256 }) => sha256);

describe('trust', () => {
  it('of one issuer is that issuer and its root, with nothing to link', () => {
    const trust = trustOf('active');
    expect(of(anchorsOf(trust))).toEqual([made[0].root.sha256]);
    expect(of(chainAbove(trust, made[0].keyId))).toEqual([made[0].certificate.sha256]);
    expect(rolloverCertificates(trust)).toEqual([]);
  });

  it('does not know what is prepared, and knows no more what is retired', () => {
    const trust = trustOf('retired', 'active', 'prepared');
    expect(acceptedIssuers(trust).map(({ keyId }) => keyId)).toEqual([made[1].keyId]);
    expect(of(anchorsOf(trust))).toEqual([made[0].root.sha256]);
    expect(linksOf(trust)).toEqual([]);
  });

  it('takes in what is announced, and still shows what it showed before', () => {
    const trust = trustOf('superseded', 'active', 'announced');
    expect(of(anchorsOf(trust))).toEqual([made[1].root.sha256, made[2].root.sha256]);
    expect(of(chainAbove(trust, made[1].keyId))).toEqual([made[1].certificate.sha256]);
    expect(acceptedIssuers(trust)).toHaveLength(3);
  });

  it('keeps a root as long as one issuer below it is not retired', () => {
    expect(of(anchorsOf(trustOf('retired', 'superseded', 'active')))).toEqual([
      made[2].root.sha256,
      made[1].root.sha256,
    ]);
    expect(of(anchorsOf(trustOf('retired', 'retired', 'active')))).toEqual([made[2].root.sha256]);
  });

  it('shows the way from a new root to the old one, and two roots back', () => {
    const one = trustOf('retired', 'tainted', 'active');
    const chain = chainAbove(one, made[2].keyId);
    expect(chain).toHaveLength(2);
    expect(path(one, made[0].root)).toHaveLength(3);
    expect(path(one, made[2].root)).toHaveLength(2);
    const two = trustOf('superseded', 'superseded', 'superseded', 'active');
    expect(chainAbove(two, made[3].keyId)).toHaveLength(3);
    expect(path(two, made[0].root)).toHaveLength(4);
    expect(path(two, made[2].root)).toHaveLength(3);
  });

  it('shows no way to a root that is retired', () => {
    for (const over of [
      trustOf('retired', 'retired', 'active'),
      trustOf('retired', 'retired', 'superseded', 'active'),
    ]) {
      const links = of(linksOf(over));
      for (const link of made[2].crossCertificates) expect(links).not.toContain(link.sha256);
      for (const given of rolloverCertificates(over)) expect(given.publicKey).not.toEqual(made[0].root.publicKey);
    }
    const trust = trustOf('retired', 'retired', 'superseded', 'active');
    expect(chainAbove(trust, made[3].keyId)).toHaveLength(2);
  });

  it('shows of an older certificate its own issuer, and of an unknown one that in use', () => {
    const trust = trustOf('superseded', 'superseded', 'active');
    expect(of(chainAbove(trust, made[0].keyId))[0]).toBe(made[0].certificate.sha256);
    expect(of(chainAbove(trust, undefined))[0]).toBe(made[2].certificate.sha256);
  });

  it('gives at /cacerts the old with the new and the new with the old, each once', () => {
    const trust = trustOf('retired', 'superseded', 'active');
    const given = of(rolloverCertificates(trust));
    expect(new Set(given).size).toBe(given.length);
    expect(given.toSorted()).toEqual(of([made[1].certificate, made[1].root, ...made[2].crossCertificates]).toSorted());
    expect(given).not.toContain(trust.active.root.sha256);
    expect(of(certificatesAbove(trust, made[1].keyId))).toContain(made[1].certificate.sha256);
  });
});

describe('the record of generations', () => {
  it.each<[string, number, CaGenerationState[], CaGenerationState[]]>([
    ['nothing is on record', 0, [], ['active', 'prepared']],
    ['nothing is on record, and the second one issues', 1, [], ['superseded', 'active']],
    ['it was told to activate, and the record was lost', 1, ['active', 'announced'], ['superseded', 'active']],
    ['the record is of before the announcement', 1, ['active', 'prepared'], ['superseded', 'active']],
    ['all is as it was', 1, ['tainted', 'active'], ['tainted', 'active']],
    ['what is retired stays retired', 1, ['retired', 'active'], ['retired', 'active']],
    ['the record is ahead of the authority', 0, ['superseded', 'active'], ['active', 'announced']],
  ])('follows the authority when %s', (_, active, recorded, expected) => {
    expect(settle(active, 2, recorded)).toEqual(expected);
  });

  it('has a row for each certificate, and a root is what the best of its issuers is', () => {
    const { issuers } = trustOf('retired', 'tainted', 'active');
    const rows = generationRows(issuers, [], { now, reason: null });
    const state = ({ sha256 }: Certificate) => rows.find((row) => row.sha256 === sha256)?.state;
    expect(rows).toHaveLength(7);
    expect(state(made[0].root)).toBe('tainted');
    expect(state(made[2].root)).toBe('active');
    expect(made[2].crossCertificates.map(state)).toEqual(['active', 'active']);
    expect(generationRows(issuers, rows, { now: now + 1, reason: 'x' })).toEqual([]);
  });
});

describe('a device', () => {
  it('lacks nothing while only the intermediate changes and it has renewed, whether or not it ever said anything', () => {
    const trust = trustOf('superseded', 'active');
    expect(lacksOf(trust, device(null, made[1]))).toEqual([]);
    expect(lacksOf(trust, device(null, made[0]))).toEqual(['certificate']);
    expect(lacksOf(trust, device(made[0].root.sha256, made[1]))).toEqual([]);
  });

  it('lacks the new anchor until it has said that it uses it', () => {
    const trust = trustOf('retired', 'superseded', 'active');
    const both = `${made[0].root.sha256} ${made[2].root.sha256}`;
    expect(lacksOf(trust, device(null, made[1]))).toEqual(['anchors', 'certificate']);
    expect(lacksOf(trust, device(made[0].root.sha256, made[2]))).toEqual(['anchors']);
    expect(lacksOf(trust, device(both, made[1]))).toEqual(['certificate']);
    expect(lacksOf(trust, device(both, made[2]))).toEqual([]);
  });

  it('is ready without the anchor that is to go: it never had it, or has dropped it, and need not have said so', () => {
    const trust = trustOf('retired', 'superseded', 'active');
    expect(lacksOf(trust, device(made[2].root.sha256, made[2]))).toEqual([]);
    expect(lacksOf(trust, device(null, made[2]))).toEqual([]);
    // Renewed since by what is shown beside the new one; whether it trusts that by itself it has not said.
    expect(lacksOf(trust, device(null, made[2], made[1]))).toEqual(['anchors']);
  });

  it('is ready also when it still trusts more than it is told to', () => {
    const trust = trustOf('retired', 'retired', 'active');
    expect(lacksOf(trust, device(`${made[0].root.sha256} ${made[2].root.sha256}`, made[2]))).toEqual([]);
  });
});
