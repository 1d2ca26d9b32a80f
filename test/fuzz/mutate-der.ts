import * as fc from 'fast-check';
import { readDer, TAG, tlv } from '#ca/pkix/der.ts';
import { randomOctets } from './mutate-bytes.ts';

/** An element whose inside is known; `lead` is the octet of unused bits of a BIT STRING that holds DER. */
type Inner = { tag: number; lead: Buffer; inside: Node[] };
/** `raw`: tag, length and value as they are to stand there, right or wrong. */
type Node = Inner | { raw: Buffer };

type Change = { at: number } & (
  | { kind: 'delete' | 'repeat' | 'move behind the next' | 'empty' | 'long length' | 'lying length' }
  | { kind: 'another'; other: number }
  | { kind: 'retag'; tag: number }
  | { kind: 'content'; octets: Buffer }
  | { kind: 'wrap'; levels: number }
);

const place = fc.nat(0xffff);
const tags = fc.constantFrom(...Object.values(TAG), 0x80, 0x82, 0x86, 0x87, 0xa0, 0xa1, 0xa3, 0x24, 0x1f, 0xff);
const simple = ['delete', 'repeat', 'move behind the next', 'empty', 'long length', 'lying length'] as const;

const change: fc.Arbitrary<Change> = fc.oneof(
  fc.record({ kind: fc.constantFrom(...simple), at: place }),
  fc.record({ kind: fc.constant('another' as const), at: place, other: place }),
  fc.record({ kind: fc.constant('retag' as const), at: place, tag: tags }),
  fc.record({ kind: fc.constant('content' as const), at: place, octets: randomOctets }),
  // One, a few, just below and just above what the reader bears, and very many.
  fc.record({ kind: fc.constant('wrap' as const), at: place, levels: fc.constantFrom(1, 2, 28, 33, 500) }),
);

/**
 * DER with whole elements left out, doubled, exchanged, replaced by others of the same message, renamed, wrapped or
 * filled with something else, also inside OCTET STRINGs and BIT STRINGs; the lengths around them are right again, so
 * that the change is met deep inside. Some elements get a length that is not minimal, or that lies.
 */
export function mutatedDer(valid: readonly Uint8Array[]): fc.Arbitrary<Buffer> {
  const trees = valid.map((der) => readNode(Buffer.from(der)));
  return fc
    .tuple(fc.constantFrom(...trees), fc.array(change, { minLength: 1, maxLength: 3 }))
    .map(([tree, changes]) => write(changes.reduce(apply, tree)));
}

/** One element taken apart as far as it goes. */
function readNode(der: Buffer): Node {
  const element = readDer(der);
  const { tag, content } = element;
  if ((tag & 0x20) !== 0)
    return { tag, lead: Buffer.alloc(0), inside: element.children().map(({ raw }) => readNode(raw)) };
  if (tag !== TAG.octetString && tag !== TAG.bitString) return { raw: der };
  const lead = content.subarray(0, tag === TAG.bitString ? 1 : 0);
  try {
    return { tag, lead, inside: [readNode(content.subarray(lead.length))] };
  } catch {
    return { raw: der };
  }
}

function write(node: Node): Buffer {
  return 'raw' in node ? node.raw : tlv(node.tag, node.lead, ...node.inside.map(write));
}

function apply(tree: Node, change: Change): Node {
  const all = listNodes(tree);
  const target = all[change.at % all.length] ?? tree;
  const replaced = replace([tree], target, change, all);
  // The whole message doubled or gone is one element too many or too few.
  return replaced.length === 1 && replaced[0] !== undefined ? replaced[0] : { raw: Buffer.concat(replaced.map(write)) };
}

function listNodes(node: Node): Node[] {
  return [node, ...('raw' in node ? [] : node.inside.flatMap(listNodes))];
}

function replace(siblings: Node[], target: Node, change: Change, all: Node[]): Node[] {
  const index = siblings.indexOf(target);
  if (index === -1)
    return siblings.map((node) =>
      'raw' in node ? node : { ...node, inside: replace(node.inside, target, change, all) },
    );
  const [before, after] = [siblings.slice(0, index), siblings.slice(index + 1)];
  if (change.kind === 'move behind the next') return [...before, ...after.slice(0, 1), target, ...after.slice(1)];
  return [...before, ...changed(target, change, all), ...after];
}

function changed(node: Node, change: Change, all: Node[]): Node[] {
  const bytes = write(node);
  const tag = bytes[0] ?? 0;
  const content = bytes.subarray(headerLength(bytes));
  switch (change.kind) {
    case 'delete':
      return [];
    case 'repeat':
      return [node, node];
    case 'move behind the next':
      return [node];
    case 'empty':
      return [{ raw: tlv(tag) }];
    case 'content':
      return [{ raw: tlv(tag, change.octets) }];
    case 'long length':
      return [{ raw: Buffer.concat([Buffer.of(tag, 0x84), fourOctets(content.length), content]) }];
    case 'lying length':
      return [{ raw: Buffer.concat([Buffer.of(tag, 0x84), fourOctets(0x7fffffff), content]) }];
    case 'another':
      return [all[change.other % all.length] ?? node];
    case 'retag':
      return [{ raw: Buffer.concat([Buffer.of(change.tag), bytes.subarray(1)]) }];
    case 'wrap': {
      let raw = bytes;
      for (let level = 0; level < change.levels; level += 1) raw = tlv(TAG.sequence, raw);
      return [{ raw }];
    }
  }
}

function headerLength(bytes: Buffer): number {
  const first = bytes[1] ?? 0;
  return 2 + (first < 0x80 ? 0 : first & 0x7f);
}

function fourOctets(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
