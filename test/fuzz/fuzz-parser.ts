import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TAG, tlv } from '#ca/pkix/der.ts';
import { computingTime } from '#test/fixtures/processes/computing-time.ts';
import { holdsFor } from './fuzz-runs.ts';
import { mutatedBytes, mutatedText, randomOctets, randomText } from './mutate-bytes.ts';

/** Far above what any input here takes (microseconds), far below what would stop a door. */
const MAX_MILLISECONDS = 150;
/** Garbage of others may be collected meanwhile; of the same input, three times over, it is not that. */
const TRIES = 3;

/** As much as any door lets in, in shapes that cost most where a reader goes over them again and again. */
const LARGE = 64 * 1024;
/** Split at blanks; the last ones hold one. */
const TEXT_UNITS = 'A = . , " [ {"a": [[], : 1 é gatehouse:// / %41 a.b \\ 0, - :: -----BEGIN\u00a0CERTIFICATE-----'
  .split(' ')
  .map((unit) => unit.replace('\u00a0', ' '));
const LARGE_TEXTS = [...TEXT_UNITS, ' ', '\n', '\ud800', 'Basic ', '\r\n\t '].map((unit) =>
  unit.repeat(LARGE / unit.length),
);
const OCTET_UNITS = '00 ff 30 3000 3080 3084 0500 0600 0200 31 a0 8002 ff544347 30820001 01 7f 0c 0a';
const LARGE_OCTETS = OCTET_UNITS.split(' ').flatMap((unit) => {
  const octets = Buffer.alloc(LARGE - 8, Buffer.from(unit, 'hex'));
  return [
    octets,
    tlv(TAG.sequence, octets),
    tlv(TAG.sequence, tlv(TAG.sequence, octets)),
    tlv(TAG.octetString, octets),
  ];
});

type AnyError = abstract new (...args: never[]) => Error;

export type Parser<Input, Output> = {
  name: string;
  /** What it must accept, and what is spoilt. */
  valid: readonly Input[];
  /** @returns what was read; undefined, where that is how it says no */
  parse: (input: Input) => Output | undefined;
  /** The only error it may throw; none: it never throws. */
  refusesWith?: AnyError;
  /** What must be true of whatever it accepts. */
  holds?: (output: Output, input: Input) => void;
  /** Inputs spoilt in ways that octets know nothing of. */
  mutated?: fc.Arbitrary<Input>[];
  /** Runs for each way of spoiling. */
  runs?: number;
};

/** Tests of a parser of octets: what is right, what is right but spoilt, and anything at all. */
export function fuzzBytesParser<Output>(parser: Parser<Buffer, Output>): void {
  fuzzParser(parser, mutatedBytes(parser.valid), randomOctets, LARGE_OCTETS);
}

/** The same for a parser of text. */
export function fuzzTextParser<Output>(parser: Parser<string, Output>): void {
  fuzzParser(parser, mutatedText(parser.valid), randomText, LARGE_TEXTS);
}

function fuzzParser<Input, Output>(
  parser: Parser<Input, Output>,
  spoilt: fc.Arbitrary<Input>,
  random: fc.Arbitrary<Input>,
  large: readonly Input[],
): void {
  const { name, valid, mutated = [], runs = 1000 } = parser;
  const says = parser.refusesWith?.name ?? 'no error';
  describe(name, () => {
    it('accepts what is right', () => {
      for (const input of valid) expect(judge(parser, input)).toBe('accepted');
    });
    it(`accepts or refuses spoilt input soon, with ${says}, and what it accepts is whole`, () => {
      holdsFor(runs * (mutated.length + 1), fc.oneof(spoilt, ...mutated), (input) => void judge(parser, input));
    });
    it(`accepts or refuses random input soon, with ${says}, and what it accepts is whole`, () => {
      holdsFor(Math.ceil(runs / 2), random, (input) => void judge(parser, input));
    });
    it('accepts or refuses large and monotonous input soon', () => {
      for (const input of large) judge(parser, input);
    });
  });
}

/** @throws Error when it fails in another way than it may, takes too long, or accepts what it should not */
function judge<Input, Output>(parser: Parser<Input, Output>, input: Input): 'accepted' | 'refused' {
  const output = parseSoon(parser, input);
  if (output === undefined) return 'refused';
  parser.holds?.(output, input);
  return 'accepted';
}

function parseSoon<Input, Output>(parser: Parser<Input, Output>, input: Input): Output | undefined {
  let fastest = Number.POSITIVE_INFINITY;
  for (let attempt = 0; attempt < TRIES; attempt += 1) {
    const start = computingTime();
    const output = parseOrRefuse(parser, input);
    fastest = Math.min(fastest, computingTime() - start);
    if (fastest < MAX_MILLISECONDS) return output;
  }
  throw new Error(`${parser.name} took ${Math.round(fastest)} ms`);
}

function parseOrRefuse<Input, Output>({ parse, refusesWith }: Parser<Input, Output>, input: Input): Output | undefined {
  try {
    return parse(input);
  } catch (error) {
    if (refusesWith !== undefined && error instanceof refusesWith) return undefined;
    throw error;
  }
}
