import type { Store } from '#gateway/ports/store.ts';

/** Opens a store of its own, empty; `close` also removes what is left of it. */
export type OpenStore = () => Promise<{ store: Store; close: () => Promise<void> }>;
