import { describe, expect, it } from 'vitest';
import { DEFAULT_CLONE_RULES } from '#gateway/contract/alarm-api.ts';
import { parseDeviceId } from '#gateway/contract/device-id.ts';
import { parseCloneRules } from '#gateway/domain/clone/clone-rules.ts';
import { IdentityTrails } from '#gateway/domain/clone/identity-trails.ts';

const press = parseDeviceId('press-07');
const [HOME, AWAY, THIRD] = ['192.0.2.1', '198.51.100.9', '203.0.113.5'];
const rules = DEFAULT_CLONE_RULES;

/** One session after the other takes over the one before; every second one. */
function takeOvers(trails: IdentityTrails, addresses: readonly string[], everyMs = 1000) {
  let before = { address: addresses[0] ?? HOME, since: 0 };
  return addresses.slice(1).map((address, index) => {
    const session = { address, since: (index + 1) * everyMs };
    const evidence = trails.takenOver({ deviceId: press, serial: '01', ...session, displaced: before }, rules);
    before = session;
    return evidence?.kind;
  });
}

describe('sessions that take over each other', () => {
  it('to and fro between two networks are two that live', () => {
    expect(takeOvers(new IdentityTrails(), [HOME, AWAY, HOME, AWAY, HOME])).toEqual([
      undefined,
      undefined,
      undefined,
      'take-over ping-pong',
    ]);
  });

  it('count no crossing of a time that the clock of the gateway has come back from', () => {
    const trails = new IdentityTrails();
    const hours = 5 * 3_600_000;
    const take = (since: number, from: string, address: string) =>
      trails.takenOver(
        { deviceId: press, serial: '01', address, since, displaced: { address: from, since: since - 1000 } },
        rules,
      );
    const kinds = [
      take(hours, HOME, AWAY),
      take(hours + 1000, AWAY, HOME),
      take(3000, HOME, AWAY),
      take(4000, AWAY, HOME),
    ];
    expect(kinds).toEqual([undefined, undefined, undefined, undefined]);
  });

  it('say where they came from, how often and how fast', () => {
    const trails = new IdentityTrails();
    takeOvers(trails, [HOME, AWAY, HOME, AWAY]);
    const last = {
      deviceId: press,
      serial: '01',
      address: HOME,
      since: 4000,
      displaced: { address: AWAY, since: 3000 },
    };
    expect(trails.takenOver(last, rules)).toMatchObject({
      address: HOME,
      serial: '01',
      detail: `sessions from ${AWAY} and ${HOME} took over each other 4 times within 3 s`,
    });
  });

  it.each([
    ['within one network', [HOME, HOME, HOME, HOME, HOME, HOME]],
    ['within one IPv6 network', ['2001:db8::1', '2001:db8::2', '2001:db8::1', '2001:db8::2', '2001:db8::1']],
    ['from one network to the next, like a train', [HOME, AWAY, THIRD, '192.0.2.77', '198.51.100.1', '203.0.113.9']],
  ])('%s are none', (_, addresses) => {
    expect(takeOvers(new IdentityTrails(), addresses)).not.toContain('take-over ping-pong');
  });

  it('over a longer time than the rule says are none', () => {
    const slow = takeOvers(new IdentityTrails(), [HOME, AWAY, HOME, AWAY, HOME, AWAY, HOME], 250_000);
    expect(slow).not.toContain('take-over ping-pong');
  });

  it('are forgiven to a device that says that it was itself each time', () => {
    const trails = new IdentityTrails();
    for (let round = 0; round < 5; round += 1) {
      expect(takeOvers(trails, [HOME, AWAY, HOME, AWAY])).not.toContain('take-over ping-pong');
      trails.explained(press);
    }
  });

  it('are found by the time at which the newer began', () => {
    const trails = new IdentityTrails();
    takeOvers(trails, [HOME, AWAY]);
    expect(trails.takeOverOf(press, 1000)?.displaced.address).toBe(HOME);
    expect(trails.takeOverOf(press, 999)).toBeUndefined();
  });
});

describe('a superseded certificate', () => {
  const use = { deviceId: press, serial: '01', successor: '02', isReported: true, address: AWAY };

  it('shown once is what an agent does that looks for one that is let in; again, it is another', () => {
    const trails = new IdentityTrails();
    expect(trails.supersededUsed({ ...use, at: 1000 }, rules)).toBeUndefined();
    expect(trails.supersededUsed({ ...use, at: 2000 }, rules)).toMatchObject({
      kind: 'superseded certificate used',
      address: AWAY,
      serial: '01',
    });
  });

  it('shown again much later begins anew', () => {
    const trails = new IdentityTrails();
    expect(trails.supersededUsed({ ...use, at: 1000 }, rules)).toBeUndefined();
    expect(trails.supersededUsed({ ...use, at: 1000 + 3_600_000 }, rules)).toBeUndefined();
  });
});

it('remembers only so many devices: the one that was quiet for longest goes first', () => {
  const trails = new IdentityTrails(2);
  for (const id of ['a', 'b', 'a', 'c']) {
    const deviceId = parseDeviceId(id);
    trails.takenOver({ deviceId, serial: '1', address: HOME, since: 1, displaced: { address: AWAY, since: 0 } }, rules);
  }
  expect(trails.size).toBe(2);
  expect(trails.takeOverOf(parseDeviceId('a'), 1)).toBeDefined();
  expect(trails.takeOverOf(parseDeviceId('b'), 1)).toBeUndefined();
});

describe('rules as they were stored', () => {
  it.each([
    ['nothing', undefined],
    ['no JSON', '{'],
    ['another thing', '[]'],
    ['values out of range', '{"pingPongTakeOvers":0,"supersededUses":1.5,"reaction":"destroy"}'],
  ])('are the defaults for %s', (_, stored) => expect(parseCloneRules(stored)).toEqual(rules));

  it('keep what makes sense', () => {
    expect(parseCloneRules('{"reaction":"alarm","pingPongTakeOvers":9,"more":1}')).toEqual({
      ...rules,
      reaction: 'alarm',
      pingPongTakeOvers: 9,
    });
  });
});
