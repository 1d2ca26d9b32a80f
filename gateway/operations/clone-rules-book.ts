import type { CloneRules } from '#gateway/contract/alarm-api.ts';
import { auditEntry } from '#gateway/domain/audit-entry.ts';
import { parseCloneRules } from '#gateway/domain/clone/clone-rules.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { Store } from '#gateway/ports/store.ts';

const SETTING = 'clone-rules';

/** The rules about clones in force. In memory, because every session asks; another worker's change comes with `load`. */
export class CloneRulesBook {
  #rules: CloneRules = parseCloneRules(undefined);

  get rules(): CloneRules {
    return this.#rules;
  }

  async load(store: Pick<Store, 'read'>): Promise<CloneRules> {
    this.#rules = parseCloneRules(await store.read.settings.get(SETTING));
    return this.#rules;
  }
}

export type CloneRulesDeps = { store: Store; clock: Clock; cloneRules: CloneRulesBook };

export function showCloneRules({ store, cloneRules }: CloneRulesDeps): Promise<CloneRules> {
  return cloneRules.load(store);
}

/** Rules that are not named stay. */
export async function setCloneRules(
  { store, clock, cloneRules }: CloneRulesDeps,
  order: { change: Partial<CloneRules>; actor: string },
): Promise<CloneRules> {
  const { change, actor } = order;
  await store.write(async (tables) => {
    const before = parseCloneRules(await tables.settings.get(SETTING));
    await tables.settings.set(SETTING, JSON.stringify({ ...before, ...change }));
    await tables.audit.append(
      auditEntry({
        at: clock.now(),
        actor,
        action: 'clone-rules.changed',
        subject: 'gateway',
        detail: JSON.stringify(change),
      }),
    );
  });
  return cloneRules.load(store);
}
