import { CLONE_REACTIONS, type CloneRules, DEFAULT_CLONE_RULES } from '#gateway/contract/alarm-api.ts';

/** Smallest and largest value of each number. */
export const CLONE_RULE_LIMITS = {
  pingPongTakeOvers: [2, 64],
  pingPongSeconds: [10, 86_400],
  twoPlacesSeconds: [0, 3600],
  supersededUses: [1, 64],
  supersededSeconds: [10, 2_592_000],
} as const satisfies Record<Exclude<keyof CloneRules, 'reaction'>, readonly [number, number]>;

type NumberRule = keyof typeof CLONE_RULE_LIMITS;

/** As they were stored, by this version or another: what is missing or makes no sense is the default. */
export function parseCloneRules(stored: string | undefined): CloneRules {
  const value = readObject(stored);
  const rules = { ...DEFAULT_CLONE_RULES };
  for (const name of Object.keys(CLONE_RULE_LIMITS) as NumberRule[]) {
    const given = value[name];
    const [least, most] = CLONE_RULE_LIMITS[name];
    if (typeof given === 'number' && Number.isInteger(given) && given >= least && given <= most) rules[name] = given;
  }
  const reaction = CLONE_REACTIONS.find((known) => known === value['reaction']);
  return reaction === undefined ? rules : { ...rules, reaction };
}

function readObject(text: string | undefined): Record<string, unknown> {
  try {
    const value: unknown = text === undefined ? {} : JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}
