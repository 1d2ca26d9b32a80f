import * as fc from 'fast-check';

/** JSON that is to stand there as it is: what `JSON.stringify` would not write. */
class Verbatim {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

type Change = { at: number } & (
  | { kind: 'delete' | 'repeat' | 'into a list' | 'into an object' }
  | { kind: 'value'; value: unknown }
  | { kind: 'another'; other: number }
  | { kind: 'rename'; name: string }
  | { kind: 'add'; name: string; value: unknown }
);

const place = fc.nat(0xffff);
const names = fc.constantFrom('__proto__', 'constructor', 'toString', 'length', 'version', '', 'a\0b', '\ud800');
/** Values on which readers of JSON turn. */
const hostile: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom(
    null,
    true,
    false,
    0,
    -0,
    -1,
    0.5,
    1,
    2,
    2 ** 31,
    2 ** 53,
    -(2 ** 53),
    '',
    ' ',
    '0',
    'x'.repeat(5000),
  ),
  fc.constantFrom(
    [],
    {},
    [[]],
    [null],
    ['a', 'a'],
    { length: 3 },
    '\0',
    '\ud800',
    '\u202e',
    'a\r\nb',
    '../../etc',
    '%00',
  ),
  fc.constantFrom(
    // Read as Infinity; more digits than a number holds; a doubled key; nested deeper than any stack.
    new Verbatim('1e999'),
    new Verbatim('-1e999'),
    new Verbatim('123456789012345678901234567890'),
    new Verbatim('{"a":1,"a":2}'),
    new Verbatim(`${'['.repeat(20_000)}${']'.repeat(20_000)}`),
    new Verbatim('{"__proto__":{"version":1}}'),
  ),
  fc.string({ maxLength: 20 }),
  fc.jsonValue({ maxDepth: 2 }),
);

const change: fc.Arbitrary<Change> = fc.oneof(
  fc.record({ kind: fc.constantFrom('delete', 'repeat', 'into a list', 'into an object'), at: place }),
  fc.record({ kind: fc.constant('value' as const), at: place, value: hostile }),
  fc.record({ kind: fc.constant('another' as const), at: place, other: place }),
  fc.record({ kind: fc.constant('rename' as const), at: place, name: names }),
  fc.record({ kind: fc.constant('add' as const), at: place, name: names, value: hostile }),
);

/** A right document with fields left out, renamed, doubled, exchanged or filled with something else; still JSON. */
export function mutatedJson(valid: readonly unknown[]): fc.Arbitrary<string> {
  return fc
    .tuple(fc.constantFrom(...valid), fc.array(change, { minLength: 1, maxLength: 3 }))
    .map(([document, changes]) => write(changes.reduce(apply, document)));
}

/** A list of entries, so that a key can stand there twice; an array has no keys. */
class Entries {
  readonly entries: [string, unknown][];
  constructor(entries: [string, unknown][]) {
    this.entries = entries;
  }
}

type Slot = { path: number[]; value: unknown };

function apply(document: unknown, change: Change): unknown {
  const slots = listSlots(document, []);
  const slot = slots[change.at % slots.length];
  if (slot === undefined) return document;
  const others = slots[change.kind === 'another' ? change.other % slots.length : 0]?.value;
  return replaceAt(document, slot.path, change, others);
}

function listSlots(value: unknown, path: number[]): Slot[] {
  return [{ path, value }, ...entriesOf(value).flatMap(([, inner], index) => listSlots(inner, [...path, index]))];
}

function entriesOf(value: unknown): [string, unknown][] {
  if (value instanceof Entries) return value.entries;
  if (typeof value !== 'object' || value === null || value instanceof Verbatim) return [];
  return Object.entries(value);
}

function replaceAt(value: unknown, path: number[], change: Change, other: unknown): unknown {
  const [index, ...rest] = path;
  if (index === undefined) return changedValue(value, change, other);
  const entries = entriesOf(value);
  const [name = '', inner] = entries[index] ?? [];
  const replaced =
    rest.length > 0 ? [[name, replaceAt(inner, rest, change, other)]] : changedEntry(name, inner, change, other);
  const all = [...entries.slice(0, index), ...(replaced as [string, unknown][]), ...entries.slice(index + 1)];
  return Array.isArray(value) ? all.map(([, item]) => item) : new Entries(all);
}

function changedEntry(name: string, value: unknown, change: Change, other: unknown): [string, unknown][] {
  if (change.kind === 'delete') return [];
  if (change.kind === 'repeat')
    return [
      [name, value],
      [name, value],
    ];
  if (change.kind === 'rename') return [[change.name, value]];
  if (change.kind === 'add')
    return [
      [name, value],
      [change.name, change.value],
    ];
  return [[name, changedValue(value, change, other)]];
}

function changedValue(value: unknown, change: Change, other: unknown): unknown {
  switch (change.kind) {
    case 'value':
      return change.value;
    case 'another':
      return other;
    case 'into a list':
      return [value];
    case 'into an object':
      return { value };
    case 'delete':
    case 'repeat':
    case 'rename':
    case 'add':
      return value;
  }
}

function write(value: unknown): string {
  if (value instanceof Verbatim) return value.text;
  if (Array.isArray(value)) return `[${value.map(write).join(',')}]`;
  if (typeof value === 'object' && value !== null)
    return `{${entriesOf(value)
      .map(([name, inner]) => `${JSON.stringify(name)}:${write(inner)}`)
      .join(',')}}`;
  return JSON.stringify(value) ?? 'null';
}
