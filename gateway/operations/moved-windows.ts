import type { Tables } from '#gateway/ports/store.ts';

/** Windows that were planned anew: when, and where they lie now. Milliseconds UTC; `until` is not among them. */
export type MovedWindows = { at: number; from: number; until: number };

const SETTING = 'renewal.windows-moved';

/** In the transaction that moves the last of them: each process tells those who are connected to it. */
export async function noteMovedWindows(tables: Pick<Tables, 'settings'>, moved: MovedWindows): Promise<void> {
  await tables.settings.set(SETTING, JSON.stringify(moved));
}

/** @returns undefined when none ever were. */
export async function readMovedWindows({ settings }: Pick<Tables, 'settings'>): Promise<MovedWindows | undefined> {
  const text = await settings.get(SETTING);
  // Written by the line above alone.
  return text === undefined ? undefined : (JSON.parse(text) as MovedWindows);
}
