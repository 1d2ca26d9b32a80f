import type { SignedList } from '#ca/ports/journal.ts';

const NONE: SignedList = { number: 0, thisUpdate: 0 };

/** The last list of each scope, as the journal tells. Numbers of lists without a scope count for all scopes. */
export class SignedLists {
  readonly #last = new Map<string, SignedList>();
  #unscoped = NONE;
  #all = NONE;

  add(scope: string | undefined, list: SignedList): void {
    this.#all = after(this.#all, list);
    if (scope === undefined) this.#unscoped = after(this.#unscoped, list);
    else this.#last.set(scope, after(this.last(scope), list));
  }

  last(scope?: string): SignedList {
    if (scope === undefined) return this.#all;
    return this.#last.get(scope) ?? this.#unscoped;
  }
}

/** Numbers never go back. Times may: a list from a wrong clock's future is followed by an honest one. */
function after(before: SignedList, { number, thisUpdate }: SignedList): SignedList {
  return { number: Math.max(before.number, number), thisUpdate };
}
