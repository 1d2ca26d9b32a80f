import { expect, it } from 'vitest';
import { AuditBudget } from '#gateway/domain/audit-budget.ts';

it('lets a burst through, then the steady pace, each address by itself', () => {
  const budget = new AuditBudget({ burst: 2, perSecond: 1, maxKeys: 10 });
  expect([budget.take('a', 0), budget.take('a', 0), budget.take('a', 0)]).toEqual([true, true, false]);
  expect(budget.take('b', 0)).toBe(true);
  expect(budget.take('a', 1000)).toBe(true);
  expect(budget.take('a', 1000)).toBe(false);
});

it('forgets the address unused for longest instead of growing', () => {
  const budget = new AuditBudget({ burst: 1, perSecond: 0, maxKeys: 2 });
  expect([budget.take('a', 0), budget.take('b', 0), budget.take('c', 0)]).toEqual([true, true, true]);
  expect(budget.take('c', 0)).toBe(false);
  expect(budget.take('a', 0)).toBe(true);
});
