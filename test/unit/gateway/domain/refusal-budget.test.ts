import { expect, it } from 'vitest';
import { RefusalBudget } from '#gateway/domain/refusal-budget.ts';

it('lets a burst through, then the steady pace, each address by itself', () => {
  const budget = new RefusalBudget({ burst: 2, perSecond: 1, maxAddresses: 10 });
  expect([budget.take('a', 0), budget.take('a', 0), budget.take('a', 0)]).toEqual([true, true, false]);
  expect(budget.take('b', 0)).toBe(true);
  expect(budget.take('a', 1000)).toBe(true);
  expect(budget.take('a', 1000)).toBe(false);
});

it('forgets the address unused for longest instead of growing', () => {
  const budget = new RefusalBudget({ burst: 1, perSecond: 0, maxAddresses: 2 });
  expect([budget.take('a', 0), budget.take('b', 0), budget.take('c', 0)]).toEqual([true, true, true]);
  expect(budget.take('c', 0)).toBe(false);
  expect(budget.take('a', 0)).toBe(true);
});
