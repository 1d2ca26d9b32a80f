import { describe, expect, it } from 'vitest';
import { DEFAULT_CLONE_RULES } from '#gateway/contract/alarm-api.ts';
import { parseDeviceId } from '#gateway/contract/device-id.ts';
import { judgeReport, type Reported, type ReportVerdict } from '#gateway/domain/clone/judge-report.ts';

const [HOME, AWAY] = ['192.0.2.1', '198.51.100.9'];
type Line = Pick<Reported, 'run' | 'count'> & { since: number } & Partial<Reported> & { address?: string };

/** What the gateway makes of these reports, one after the other. */
function judged(...lines: Line[]): (ReportVerdict | undefined)[] {
  let known: Parameters<typeof judgeReport>[0];
  return lines.map(({ since, address = HOME, ...line }, index) => {
    const verdict = judgeReport(
      known,
      {
        at: since + index,
        serial: '01',
        lineage: '01',
        session: { since, address },
        takeOver: undefined,
        ...line,
      },
      DEFAULT_CLONE_RULES,
    );
    if (verdict !== undefined) known = verdict;
    return verdict;
  });
}

const kinds = (...lines: Line[]) => judged(...lines).map((verdict) => verdict?.evidence?.kind);

/** A session of this device that began at `since` and took the place of one that began at `before`. */
const takeOver = (since: number, before: number, from = HOME) => ({
  deviceId: parseDeviceId('press-07'),
  serial: '01',
  address: AWAY,
  since,
  displaced: { address: from, since: before },
});

describe('one device', () => {
  it('reports with a count that rises, over reconnects, other networks and restarts', () => {
    expect(
      kinds(
        { since: 1, run: 'a', count: 1 },
        { since: 1, run: 'a', count: 2 },
        { since: 20, run: 'a', count: 3, address: AWAY },
        { since: 30, run: 'a', count: 4 },
        { since: 40, run: 'b', count: 5 },
        { since: 50, run: 'b', count: 9, address: AWAY },
      ),
    ).toEqual(Array.from({ length: 6 }, () => undefined));
  });

  it('is known as one when the same run reports from another network', () => {
    const [, roamed] = judged({ since: 1, run: 'a', count: 1 }, { since: 9, run: 'a', count: 2, address: AWAY });
    expect(roamed?.isSameRun).toBe(true);
  });

  it('is not suspected when a report comes late, after one of the session that took over', () => {
    const [, , late] = judged(
      { since: 1, run: 'a', count: 1 },
      { since: 9, run: 'a', count: 3 },
      { since: 1, run: 'a', count: 2, at: 10 },
    );
    expect(late).toBeUndefined();
  });

  it('is heard, and not suspected, after the clock of the gateway was set back', () => {
    const hours = 5 * 3_600_000;
    const [, , late] = judged(
      { since: hours, run: 'a', count: 1 },
      { since: 9, run: 'a', count: 2 },
      { since: 12, run: 'a', count: 3 },
    );
    expect(late).toMatchObject({ count: 3, evidence: undefined });
    // It was switched on again elsewhere; the sign of the session before is from the time that was taken back.
    const since = 1000;
    const [, restarted] = judged(
      { since: 1, at: hours, run: 'a', count: 1 },
      { since, run: 'b', count: 2, address: AWAY, takeOver: takeOver(since, 1) },
    );
    expect(restarted).toMatchObject({ count: 2, evidence: undefined });
  });

  it('may have a disk that took no count for a while', () => {
    expect(
      kinds({ since: 1, run: 'a', count: 1 }, { since: 9, run: 'a', count: null }, { since: 19, run: 'a', count: 2 }),
    ).toEqual([undefined, undefined, undefined]);
  });

  it('may have an older agent, which says neither', () => {
    expect(kinds({ since: 1, run: null, count: null }, { since: 9, run: null, count: null })).toEqual([
      undefined,
      undefined,
    ]);
  });

  it('begins anew when it was enrolled anew', () => {
    expect(
      kinds({ since: 1, run: 'a', count: 90 }, { since: 9, run: 'b', count: 1, serial: '07', lineage: '07' }),
    ).toEqual([undefined, undefined]);
  });

  it('that loses its power and comes back by its other uplink is not two', () => {
    const back = { since: 20_000, run: 'b', count: 2, address: AWAY, takeOver: takeOver(20_000, 1) };
    expect(kinds({ since: 1, run: 'a', count: 1 }, back)).toEqual([undefined, undefined]);
  });
});

describe('two that live from one disk', () => {
  it('are found when one reports with a count that was there already', () => {
    const [, , copy] = judged(
      { since: 1, run: 'a', count: 7 },
      { since: 1, run: 'a', count: 8 },
      { since: 9, run: 'b', count: 8 },
    );
    expect(copy?.evidence).toMatchObject({ kind: 'count went back', address: HOME, serial: '01' });
    expect(copy?.count).toBe(8);
  });

  it('are found when the copy is ahead: then the original is behind', () => {
    expect(
      kinds(
        { since: 1, run: 'a', count: 7 },
        { since: 9, run: 'b', count: 8 },
        { since: 19, run: 'b', count: 9 },
        { since: 29, run: 'c', count: 8 },
      ),
    ).toEqual([undefined, undefined, undefined, 'count went back']);
  });

  it('are found when a run speaks again after another, whatever they count', () => {
    expect(
      kinds(
        { since: 1, run: 'a', count: 1 },
        { since: 9, run: 'b', count: 2 },
        { since: 19, run: 'c', count: 3 },
        { since: 29, run: 'a', count: 50 },
      ),
    ).toEqual([undefined, undefined, undefined, 'two places']);
  });

  it('are found when a running machine was copied, with its memory', () => {
    expect(
      kinds({ since: 1, run: 'a', count: 9 }, { since: 5, run: 'a', count: 10 }, { since: 9, run: 'a', count: 10 }),
    ).toEqual([undefined, undefined, 'count went back']);
  });

  it('are found when another run takes over from another network at once', () => {
    const other = { since: 3000, run: 'b', count: 2, address: AWAY, takeOver: takeOver(3000, 1) };
    expect(kinds({ since: 1, run: 'a', count: 1 }, other)).toEqual([undefined, 'two places']);
  });

  it('in one network are not told by that: a device may have restarted', () => {
    const other = { since: 3000, run: 'b', count: 2, takeOver: takeOver(3000, 1, '192.0.2.1') };
    expect(kinds({ since: 1, run: 'a', count: 1 }, other)).toEqual([undefined, undefined]);
  });
});
