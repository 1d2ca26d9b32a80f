/** What a step of the demo expected, and what it found instead. */
export class ExpectationError extends Error {
  readonly expected: string;
  readonly found: string;

  constructor(expected: string, found: string) {
    super(`expected ${expected}; found ${found}`);
    this.name = 'ExpectationError';
    this.expected = expected;
    this.found = found;
  }
}

/** @throws ExpectationError unless the fact holds. */
export function expect(holds: boolean, expected: string, found: unknown): asserts holds {
  if (!holds) throw new ExpectationError(expected, typeof found === 'string' ? found : JSON.stringify(found));
}

/**
 * Looks again and again until the fact holds.
 *
 * @param look the newest view of it
 * @throws ExpectationError with the last view when it does not hold in time
 */
export async function expectSoon<T>(
  expected: string,
  look: () => Promise<T>,
  holds: (view: T) => boolean,
  { timeoutMs = 60_000, everyMs = 50 } = {},
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const view = await look();
    if (holds(view)) return view;
    expect(performance.now() < deadline, `${expected} within ${timeoutMs / 1000} s`, view);
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}
