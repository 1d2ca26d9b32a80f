import type { StateStore } from '#device-agent/ports/state-store.ts';

/** The same store, which tells when a generation has gone, so that copies of its key elsewhere can go too. */
export function forgettingStore(store: StateStore, onRemoved: () => void): StateStore {
  return {
    readRecord: (name) => store.readRecord(name),
    writeRecord: (name, value) => store.writeRecord(name, value),
    readTrust: () => store.readTrust(),
    writeTrust: (anchors) => store.writeTrust(anchors),
    listGenerations: () => store.listGenerations(),
    readGeneration: (number) => store.readGeneration(number),
    currentGeneration: () => store.currentGeneration(),
    addGeneration: (key, meta) => store.addGeneration(key, meta),
    completeGeneration: (number, certificates, meta) => store.completeGeneration(number, certificates, meta),
    switchTo: (number) => store.switchTo(number),
    removeGeneration: async (number) => {
      await store.removeGeneration(number);
      onRemoved();
    },
  };
}
