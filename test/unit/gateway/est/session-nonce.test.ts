import { Socket } from 'node:net';
import { expect, it } from 'vitest';
import { NONCE_LIFE_SECONDS, SessionNonces } from '#gateway/est/session-nonce.ts';

const [one, other] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)];
const LIFE = NONCE_LIFE_SECONDS * 1000;

it('is good on its session, once, and no longer than was told', () => {
  const [nonces, mine, theirs] = [new SessionNonces(), new Socket(), new Socket()];
  nonces.give(mine, one, 1000);
  expect(nonces.take(theirs, 1001)).toBeUndefined();
  expect(nonces.take(mine, 1000 + LIFE - 1)).toBe(one);
  expect(nonces.take(mine, 1000 + LIFE - 1)).toBeUndefined();
  nonces.give(mine, one, 1000);
  expect(nonces.take(mine, 1000 + LIFE)).toBeUndefined();
  expect(nonces.take(mine, 1001)).toBeUndefined();
});

it('is one for each session: the newest', () => {
  const [nonces, mine] = [new SessionNonces(), new Socket()];
  nonces.give(mine, one, 0);
  nonces.give(mine, other, 1);
  expect(nonces.take(mine, 2)).toBe(other);
  expect(nonces.take(mine, 2)).toBeUndefined();
});
