/**
 * One piece of work after the other for each key, and few that wait: for requests that come over one connection before
 * the first is answered. HTTP parsers hand over all that a packet holds at once, and a thousand small ones, times a
 * hundred connections, would keep everybody else out of the event loop for as long as they take.
 */
export class Turns {
  readonly #mostWaiting: number;
  /** Whoever stands in it has one at work. */
  readonly #waiting = new WeakMap<object, (() => void)[]>();

  constructor(mostWaiting: number) {
    this.#mostWaiting = mostWaiting;
  }

  /**
   * @param start called now, or when those before have ended; each has to end with `leave`
   * @returns false when too many wait already; then it is not called
   */
  enter(key: object, start: () => void): boolean {
    const waiting = this.#waiting.get(key);
    if (waiting === undefined) {
      this.#waiting.set(key, []);
      start();
      return true;
    }
    if (waiting.length >= this.#mostWaiting) return false;
    waiting.push(start);
    return true;
  }

  /** The one at work has ended: the next begins. */
  leave(key: object): void {
    const next = this.#waiting.get(key)?.shift();
    if (next === undefined) this.#waiting.delete(key);
    else next();
  }
}
