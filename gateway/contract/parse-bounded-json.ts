/** Deeper than any message of ours; far less than what exhausts the stack of whoever walks through it. */
const MAX_JSON_DEPTH = 32;

/**
 * JSON from outside. `JSON.parse` bears any depth, but what is done with the value afterwards may not: writing it as
 * text, comparing it or measuring it goes down level by level.
 * @throws SyntaxError when it is not JSON, or nested too deep
 */
export function parseBoundedJson(text: string): unknown {
  const value: unknown = JSON.parse(text);
  if (!isWithin(value, MAX_JSON_DEPTH)) throw new SyntaxError('the JSON is nested too deep');
  return value;
}

function isWithin(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return true;
  return levels > 0 && Object.values(value).every((inner) => isWithin(inner, levels - 1));
}
